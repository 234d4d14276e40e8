"""One address in front of several workers: every request has a connection of its own, each to the next."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from itertools import cycle
from typing import Final

from tests.harness.proxy import Proxy, closed
from tests.harness.server import ServerProcess

CONNECTION: Final = re.compile(rb"\r\nconnection: *keep-alive\r\n", re.IGNORECASE)


class Front(Proxy):
    """No client can know which worker it gets: what a load balancer without sticky sessions does."""

    def __init__(self, workers: Sequence[ServerProcess]) -> None:
        super().__init__()
        self.requests: dict[int, int] = dict.fromkeys((worker.port for worker in workers), 0)
        self._turn = cycle(self.requests)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            await closed(writer)  # a connection that was never used
            return
        port = next(self._turn)
        self.requests[port] += 1
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
        head, _ = CONNECTION.subn(b"\r\n", head)
        to_writer.write(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await asyncio.gather(_pass(reader, to_writer, writer), _pass(to_reader, writer, to_writer))


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way_back: asyncio.StreamWriter
) -> None:
    """Until either side closes; then the other side is closed too."""
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        writer.transport.abort()
    finally:
        writer.close()
        way_back.close()
