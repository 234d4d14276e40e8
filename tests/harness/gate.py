"""A gate in front of a database or a broker: closed, it is as if the service had gone away."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from tests.harness.ports import free_port
from tests.harness.proxy import stop_serving

DEADLINE: Final = 30.0
CHUNK: Final = 65536
RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)

Pair = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Gate:
    """Passes bytes to a service and back, in a thread of its own; every method may be called in a test.

    Closed, it cuts every connection with a reset, and new ones are refused. Held, it accepts them, and
    passes nothing on.
    """

    def __init__(self, service_url: str) -> None:
        self._parts = urlsplit(service_url)
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"gate-{self.port}", daemon=True)
        self._server: asyncio.Server | None = None
        self._pairs: set[Pair] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._passes.set()

    @property
    def service_port(self) -> int:
        """Where the service itself listens."""
        assert self._parts.port is not None
        return self._parts.port

    @property
    def url(self) -> str:
        """The service's URL with the gate's place in it."""
        user, at, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{user}{at}127.0.0.1:{self.port}"))

    def __enter__(self) -> Gate:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.release()
        self._do(self._finished())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE)
        self._loop.close()

    def lead_to(self, service_url: str) -> None:
        """New connections go to another service. Those that are open stay where they are."""
        self._parts = urlsplit(service_url)

    def open(self) -> None:
        if self._server is None:
            self._server = self._do(asyncio.start_server(self._accept, "127.0.0.1", self.port))

    def close(self) -> None:
        self._do(self._close())

    def hold(self) -> None:
        self._loop.call_soon_threadsafe(self._passes.clear)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self._passes.set)

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)

    async def _close(self) -> None:
        if self._server is not None:
            await stop_serving(self._server)
            self._server = None
        for pair in list(self._pairs):
            _reset(pair)

    async def _finished(self) -> None:
        # One that was accepted at the last moment is a task of asyncio's before it is a relay.
        while rest := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(rest)
            await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay = asyncio.ensure_future(self._relay(reader, writer))
        self._relays.add(relay)
        relay.add_done_callback(self._relays.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted_by = self._server
        try:
            target = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        except OSError:
            writer.transport.abort()
            return
        pair = writer, target[1]
        self._pairs.add(pair)
        if accepted_by is None or self._server is not accepted_by:
            _reset(pair)  # it was closed while the service was being reached, whether or not it is open again
        await asyncio.gather(self._pass(reader, target[1]), self._pass(target[0], writer))
        self._pairs.discard(pair)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._passes.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _reset(pair: Pair) -> None:
    for writer in pair:
        connection = writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        writer.transport.abort()
