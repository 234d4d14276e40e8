"""A connection whose client takes nothing: it is waited for, but not without end, and with little in hand.

What is sent goes to the server in small parts, so that progress is seen within a large event too. Whoever
takes no part for STALL_SECONDS loses the connection, and comes back to the stream for the rest. Servers
differ in how they say that a client is slow, and in how a connection is cut: see `_wire`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Protocol, runtime_checkable
from weakref import WeakSet

from mcp_sessions.asgi import Send
from mcp_sessions.exchange import EventStream, Reply

logger = logging.getLogger("mcp_sessions.backpressure")

Message = MutableMapping[str, Any]

SENDING: Final = "mcp_sending"
"""The scope's key of the Sending of its request."""

PART: Final = 64 * 1024
"""Bytes that are handed to the server at once."""
OVER_SECONDS: Final = 5.0
"""How long a client may take nothing once its stream is over, or the process stops."""
LOOK_SECONDS: Final = 0.2
"""How often it is looked whether a client takes the rest of what was sent."""
LEAVE_SECONDS: Final = 1.0
"""Within so long a server tells whoever served a connection that it is gone."""


class Wire(Protocol):
    """What a server knows of a connection."""

    def send(self, message: Message, /) -> Awaitable[None]:
        """Send; done once the client may be sent more."""

    def unsent(self) -> int:
        """Bytes that the client has yet to take, as far as the server says so."""

    def is_free(self) -> bool:
        """Whether the client has taken all, so that sending does not wait for it."""

    def abort(self) -> None:
        """Cut the connection, whatever is unsent."""


@runtime_checkable
class Watched(Protocol):
    """Chunks of a stream that may be over before its client has taken them."""

    def on_closing(self, call: Callable[[], None]) -> None:
        """Have it called when nothing more comes than what is on its way."""

    def stall(self) -> None:
        """Its client takes nothing: the connection is given up."""


@runtime_checkable
class Resting(Protocol):
    """Chunks of a stream that has nothing to send most of the time, but for keep-alives."""

    def push_by(self, push: Callable[[bytes], bool]) -> None:
        """Have keep-alives sent by this while the stream waits for something to send."""


class Sending:
    """The `send` of one request."""

    def __init__(self, send: Send, stall_seconds: float, client: object) -> None:
        self._wire = _wire(send)
        self._seconds = stall_seconds
        self._client = client
        self._waiting: asyncio.Timeout | None = None
        self.is_cut = False
        self.on_cut: Callable[[], None] | None = None
        """What to do before the connection is cut."""
        _open.add(self)

    async def __call__(self, message: Message) -> None:
        body = message.get("body", b"")
        for start in range(0, len(body) - PART, PART):
            part = body[start : start + PART]
            await self._send({**message, "body": part, "more_body": True})
        # What is left, or all of it: nearly every message is small.
        last = max(0, (len(body) - 1) // PART * PART)
        await self._send({**message, "body": body[last:]} if last else message)

    def push(self, part: bytes) -> bool:
        """Send a part of a stream at once. Returns whether it was sent: not to a client that is slow.

        It is what 10,000 idle streams cost: no task wakes up for a keep-alive.
        """
        if self.is_cut or not self._wire.is_free():
            return False
        sending: Any = self._wire.send({"type": "http.response.body", "body": part, "more_body": True})
        try:
            sending.send(None)
        except StopIteration:
            return True
        except Exception as error:
            # The task that serves the connection sends the part again, and meets the same error.
            logger.debug("a part of a stream was not sent: %r", error)
            return False
        sending.close()
        return False

    def hurry(self) -> None:
        """The stream is over, or the process stops: its client gets less time."""
        self._seconds = min(self._seconds, OVER_SECONDS)
        if self._waiting is not None and not self._waiting.expired():
            at = asyncio.get_running_loop().time() + self._seconds
            self._waiting.reschedule(min(at, self._waiting.when() or at))

    async def finish(self) -> None:
        """Wait until the client has taken what the server still has; nearly always it has by now."""
        loop, left = asyncio.get_running_loop(), self._wire.unsent()
        progress_at = loop.time()
        # No background work: the loop is this connection, and ends with it.
        while left and not self.is_cut:
            await asyncio.sleep(LOOK_SECONDS)
            before, left = left, self._wire.unsent()
            if left < before:
                progress_at = loop.time()
            elif loop.time() - progress_at >= self._seconds:
                self._cut()

    async def _send(self, message: Message) -> None:
        if self._wire.is_free():
            # Nearly always: no timer is needed.
            await self._wire.send(message)
        else:
            await self._send_in_time(message)
        if self.is_cut:
            # The listener for the end of the connection gets it now, and cancels the sender.
            await asyncio.sleep(LEAVE_SECONDS)
            raise ConnectionAbortedError("The client took nothing for too long.")

    async def _send_in_time(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._seconds) as self._waiting:
                await self._wire.send(message)
        except TimeoutError:
            self._cut()
        finally:
            self._waiting = None

    def _cut(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            text = "the connection of %s is cut: its client took nothing for %g s"
            logger.warning(text, self._client, self._seconds)
            if self.on_cut is not None:
                self.on_cut()
            self._wire.abort()


_open: Final[WeakSet[Sending]] = WeakSet()


def watch(scope: Mapping[str, Any], reply: Reply) -> None:
    """Have a stream that is over cut sooner, and know that it was cut; and send its keep-alives at once."""
    sending = scope.get(SENDING)
    if sending is None or not isinstance(reply, EventStream):
        return
    if isinstance(reply.chunks, Watched):
        sending.on_cut = reply.chunks.stall
        reply.chunks.on_closing(sending.hurry)
    if isinstance(reply.chunks, Resting):
        reply.chunks.push_by(sending.push)


def hurry_all() -> None:
    """The process stops."""
    for sending in list(_open):
        sending.hurry()


class _Unknown:
    """Of a server that says nothing, or behind a middleware that wraps `send`."""

    def __init__(self, send: Send) -> None:
        self.send = send

    def unsent(self) -> int:
        return 0

    def is_free(self) -> bool:
        return False

    def abort(self) -> None:
        """The server finds out that nothing more comes."""


class _Transport:
    """Of uvicorn, by itself or under gunicorn: `send` waits for the client."""

    def __init__(self, send: Send, transport: Any) -> None:
        self.send = send
        self._transport = transport

    def unsent(self) -> int:
        return int(self._transport.get_write_buffer_size())

    def is_free(self) -> bool:
        return not self._transport.get_write_buffer_size()

    def abort(self) -> None:
        self._transport.abort()


class _Producer:
    """Of Daphne: `send` returns at once, whatever the client does. Twisted tells a producer when to rest."""

    def __init__(self, send: Send, request: Any) -> None:
        self._send = send
        self._request = request
        self._may_send = asyncio.Event()
        self._may_send.set()
        self._is_registered = False

    async def send(self, message: Message) -> None:
        self._register(bool(message.get("more_body")))
        await self._send(message)
        await self._may_send.wait()

    def _register(self, is_wanted: bool) -> None:
        """Twisted wants a request to end without a producer."""
        if is_wanted == self._is_registered or self._request.channel is None:
            return
        self._is_registered = is_wanted
        if is_wanted:
            self._request.registerProducer(self, True)
        else:
            self._request.unregisterProducer()

    def unsent(self) -> int:
        return 0

    def is_free(self) -> bool:
        return False

    def abort(self) -> None:
        if (channel := self._request.channel) is not None:
            channel.transport.abortConnection()

    # What Twisted calls: twisted.internet.interfaces.IPushProducer.

    def pauseProducing(self) -> None:
        self._may_send.clear()

    def resumeProducing(self) -> None:
        self._may_send.set()

    def stopProducing(self) -> None:
        """The connection is gone: nobody is to wait for it."""
        self._may_send.set()


def _wire(send: Send) -> Wire:
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if hasattr(transport, "get_write_buffer_size") and hasattr(transport, "abort"):
        return _Transport(send, transport)
    request = next(iter(getattr(send, "args", ())), None)
    if hasattr(request, "registerProducer") and hasattr(request, "channel"):
        return _Producer(send, request)
    return _Unknown(send)
