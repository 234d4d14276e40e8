"""One address in front of several workers: every request has a connection of its own, each to the next."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Sequence
from itertools import cycle
from typing import Final

from tests.harness.proxy import closed
from tests.harness.server import ServerProcess

CONNECTION: Final = re.compile(rb"\r\nconnection: *keep-alive\r\n", re.IGNORECASE)


class Front:
    """No client can know which worker it gets: what a load balancer without sticky sessions does."""

    def __init__(self, workers: Sequence[ServerProcess]) -> None:
        self.port = 0
        self.requests: dict[int, int] = dict.fromkeys((worker.port for worker in workers), 0)
        self._turn = cycle(self.requests)
        self._relays: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Front]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.gather(*self._relays)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._relays.add(asyncio.create_task(self._relay(reader, writer)))

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
