"""TCP proxies: one that cuts a connection at a chosen event, for clients that cannot be asked to."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Final, Self

# A block of an event stream that has a data field; comments and bare retries do not count.
EVENT_WITH_DATA: Final = re.compile(rb"(?:^|\n)data:[^\n]*\n(?:[^\n]+\n)*\n")


class Proxy:
    """Passes what comes to a port of its own on, a connection at a time."""

    def __init__(self) -> None:
        self.port = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._connections: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await stop_serving(server)
            # Not cancelled: with their transports gone they come to their end, and close what is theirs.
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.gather(*self._connections)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._connections.append(asyncio.create_task(self._relay(reader, writer)))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class CuttingProxy(Proxy):
    """Cuts the first connection whose request has `marker` in it, once `after_events` events came back."""

    def __init__(self, target_port: int, marker: bytes, after_events: int) -> None:
        super().__init__()
        self.target_port = target_port
        self.marker = marker
        self.after_events = after_events
        self.cuts = 0

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            await closed(writer)
            return
        armed = asyncio.Event()
        directions = {
            asyncio.create_task(self._requests(reader, upstream_writer, armed)),
            asyncio.create_task(self._responses(upstream_reader, writer, armed)),
        }
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        await closed(writer)
        await closed(upstream_writer)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, armed: asyncio.Event
    ) -> None:
        tail = b""
        while chunk := await reader.read(65536):
            if self.marker in tail + chunk and not self.cuts:
                armed.set()
            tail = chunk[-len(self.marker) :]
            writer.write(chunk)
            await writer.drain()

    async def _responses(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, armed: asyncio.Event
    ) -> None:
        received = b""
        while chunk := await reader.read(65536):
            if armed.is_set():
                allowed = self._allowed(received, chunk)
                received += chunk
                if allowed is not None:
                    writer.write(chunk[:allowed])
                    await writer.drain()
                    self.cuts += 1
                    return
            writer.write(chunk)
            await writer.drain()

    def _allowed(self, received: bytes, chunk: bytes) -> int | None:
        """How much of the chunk goes through before the cut; None while there is none."""
        events = list(EVENT_WITH_DATA.finditer(received + chunk))
        if len(events) < self.after_events:
            return None
        return max(events[self.after_events - 1].end() - len(received), 0)


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def stop_serving(server: asyncio.Server) -> None:
    """Accept no more. asyncio leaves open, and forgets, what it accepts in the very moment of close()."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        loop.remove_reader(listening.fileno())
    # What was accepted by then gets its transport in the next turn.
    await asyncio.sleep(0)
    server.close()
