"""Clients that harm: junk requests in great number, and connections that say nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

JUNK: Final = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "junk", "version": "1"},
        },
    }
).encode()
HALF: Final = b"POST /mcp HTTP/1.1\r\nHost: testserver\r\nContent-Le"
"""What a connection says before it falls silent."""


@contextmanager
def half_open(port: int, count: int, address: str) -> Iterator[None]:
    """So many connections from an address of this machine, each in the middle of a request's head."""
    opened = [
        socket.create_connection(("127.0.0.1", port), source_address=(address, 0)) for _ in range(count)
    ]
    try:
        for each in opened:
            each.sendall(HALF)
        yield
    finally:
        for each in opened:
            each.close()


async def junk(
    url: str, count: int, address: str, *, connections: int, per_second: float | None = None
) -> Counter[int]:
    """Send `initialize` so often from an address of this machine, over so many connections; the statuses."""
    statuses: Counter[int] = Counter()
    began, numbers = time.monotonic(), iter(range(count))

    async def send_some() -> None:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, local_addr=(address, 0))
        for number in numbers:
            if per_second is not None:
                await asyncio.sleep(max(began + number / per_second - time.monotonic(), 0))
            writer.write(request_to(parts.path, parts.netloc))
            statuses[await read_status(reader)] += 1
        writer.close()

    await asyncio.gather(*(send_some() for _ in range(connections)))
    return statuses


def request_to(path: str, host: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nContent-Length: {len(JUNK)}\r\n\r\n"
    )
    return head.encode() + JUNK


async def read_status(reader: asyncio.StreamReader) -> int:
    """The status of an answer with a Content-Length, which is read whole."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].split("\r\n")[0])
    await reader.readexactly(length)
    return int(head.split()[1])
