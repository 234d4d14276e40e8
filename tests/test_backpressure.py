"""Clients that take nothing: waited for, then cut, whatever the server says of them."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import pytest

from mcp_sessions import backpressure
from mcp_sessions.asgi import send_reply
from mcp_sessions.backpressure import PART, SENDING, Sending, hurry_all, watch
from mcp_sessions.exchange import Answer, EventStream

Message = MutableMapping[str, Any]

SOON = 0.01
NEVER = 1000.0
DEADLINE = 30.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OVER_SECONDS", "LOOK_SECONDS", "LEAVE_SECONDS"):
        monkeypatch.setattr(backpressure, name, SOON)


class Transport:
    """As asyncio and uvloop have them."""

    def __init__(self, *unsent: int) -> None:
        self.unsent = list(unsent)
        self.is_aborted = False
        self.is_full = False

    def get_write_buffer_size(self) -> int:
        if self.is_full:
            return PART
        return self.unsent.pop(0) if len(self.unsent) > 1 else sum(self.unsent)

    def abort(self) -> None:
        self.is_aborted = True


class Uvicorn:
    """What `send` is a method of there. It waits for the client once it has taken so many messages."""

    def __init__(self, *unsent: int, takes: float = float("inf")) -> None:
        self.transport = Transport(*unsent)
        self.takes = takes
        self.transport.is_full = takes == 0
        self.sent: list[Message] = []
        self.is_waiting = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.transport.is_full = len(self.sent) >= self.takes
        if len(self.sent) > self.takes:
            self.is_waiting.set()
            await asyncio.Event().wait()


def body(size: int, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": b"x" * size, "more_body": more}


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART - 1])
@pytest.mark.parametrize("more", [True, False])
async def test_what_is_large_goes_out_in_parts(size: int, more: bool) -> None:
    server = Uvicorn()
    await Sending(server.send, NEVER, "?")(body(size, more=more))
    assert sum(len(each["body"]) for each in server.sent) == size
    assert all(len(each["body"]) <= PART for each in server.sent)
    assert [each["more_body"] for each in server.sent] == [True] * (len(server.sent) - 1) + [more]
    assert len(server.sent) == max(1, -(-size // PART))


async def test_what_has_no_body_is_sent_as_it_is() -> None:
    server, start = Uvicorn(), {"type": "http.response.start", "status": 200}
    await Sending(server.send, NEVER, "?")(start)
    assert server.sent == [start]


async def test_who_has_taken_all_is_sent_more_without_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Uvicorn(takes=1)
    sending = Sending(server.send, NEVER, "?")
    timers: list[float] = []
    monkeypatch.setattr(asyncio.get_running_loop(), "call_at", lambda at, *_, **__: timers.append(at))
    await sending(body(1))
    assert (len(server.sent), timers) == (1, [])


async def test_a_part_is_pushed_to_who_has_taken_all() -> None:
    server = Uvicorn(takes=1)
    sending = Sending(server.send, NEVER, "?")
    assert sending.push(b"a")
    assert not sending.push(b"b")
    assert [message["body"] for message in server.sent] == [b"a"]


async def test_who_takes_nothing_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    server = Uvicorn(takes=2)
    sending = Sending(server.send, SOON, "192.0.2.1")
    told: list[bool] = []
    sending.on_cut = lambda: told.append(server.transport.is_aborted)
    with pytest.raises(ConnectionAbortedError):
        await sending(body(5 * PART))
    assert server.transport.is_aborted and sending.is_cut
    assert told == [False]
    assert len(server.sent) == 3
    assert "the connection of 192.0.2.1 is cut: its client took nothing" in caplog.text
    with pytest.raises(ConnectionAbortedError):
        await sending(body(1))


@pytest.mark.parametrize("hurry", [Sending.hurry, lambda _: hurry_all()], ids=["its stream", "the process"])
async def test_who_takes_nothing_is_cut_soon_once_it_is_over(hurry: Callable[[Sending], None]) -> None:
    server = Uvicorn(takes=0)
    sending = Sending(server.send, NEVER, "?")
    task = asyncio.create_task(sending(body(1)))
    await server.is_waiting.wait()
    hurry(sending)
    with pytest.raises(ConnectionAbortedError):
        async with asyncio.timeout(DEADLINE):
            await task
    assert server.transport.is_aborted


async def test_what_was_over_before_it_was_sent_is_cut_soon() -> None:
    server = Uvicorn(takes=0)
    sending = Sending(server.send, NEVER, "?")
    sending.hurry()
    with pytest.raises(ConnectionAbortedError):
        async with asyncio.timeout(DEADLINE):
            await sending(body(1))


async def test_the_rest_is_waited_for_while_the_client_takes_something() -> None:
    server = Uvicorn(*range(50, -1, -1))
    await Sending(server.send, NEVER, "?").finish()
    assert not server.transport.is_aborted
    assert server.transport.unsent == [0]


async def test_who_does_not_take_the_rest_is_cut() -> None:
    server = Uvicorn(7, 5)
    async with asyncio.timeout(DEADLINE):
        await Sending(server.send, SOON, "?").finish()
    assert server.transport.is_aborted


class Chunks:
    """A stream that does not end by itself."""

    def __init__(self) -> None:
        self.close: Callable[[], None] | None = None
        self.is_stalled = self.is_closed = False

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        return b"x"

    async def aclose(self) -> None:
        self.is_closed = True

    def on_closing(self, call: Callable[[], None]) -> None:
        self.close = call

    def stall(self) -> None:
        self.is_stalled = True


async def test_a_stream_knows_that_its_connection_was_cut(caplog: pytest.LogCaptureFixture) -> None:
    server, chunks = Uvicorn(takes=5), Chunks()
    sending, reply = Sending(server.send, NEVER, "?"), EventStream(chunks)
    watch({SENDING: sending}, reply)
    task = asyncio.create_task(send_reply(reply, sending))
    await server.is_waiting.wait()
    assert chunks.close is not None and not chunks.is_stalled
    chunks.close()
    async with asyncio.timeout(DEADLINE):
        await task
    assert chunks.is_stalled and chunks.is_closed and server.transport.is_aborted
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_an_answer_that_is_not_taken_is_cut() -> None:
    server = Uvicorn(takes=2)
    async with asyncio.timeout(DEADLINE):
        await send_reply(Answer(200, (), b"x" * 3 * PART), Sending(server.send, SOON, "?"))
    assert server.transport.is_aborted


class Request:
    """Twisted's: it has one producer at most, and none in the end."""

    def __init__(self) -> None:
        self.channel: Any = self
        self.transport: Any = self
        self.producer: Any = None
        self.is_aborted = False

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self.producer is None and streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def abortConnection(self) -> None:
        self.is_aborted = True


@pytest.fixture
def daphne() -> Iterator[tuple[Request, list[Message], Any]]:
    request, sent = Request(), list[Message]()

    async def handle_reply(protocol: Request, message: Message) -> None:
        assert protocol is request
        sent.append(message)

    yield request, sent, functools.partial(handle_reply, request)


async def test_twisted_says_when_its_client_may_be_sent_more(daphne: Any) -> None:
    request, sent, send = daphne
    sending = Sending(send, NEVER, "?")
    await sending({"type": "http.response.start", "status": 200})
    await sending(body(1))
    request.producer.pauseProducing()
    task = asyncio.create_task(sending(body(2)))
    while len(sent) < 3:
        await asyncio.sleep(0)
    assert not task.done()
    request.producer.resumeProducing()
    await task
    await sending(body(0, more=False))
    assert request.producer is None and not request.is_aborted
    assert [len(each.get("body", b"")) for each in sent] == [0, 1, 2, 0]


async def test_twisteds_clients_that_take_nothing_are_cut(daphne: Any) -> None:
    request, _, send = daphne
    sending = Sending(send, SOON, "?")
    await sending(body(1))
    request.producer.pauseProducing()
    with pytest.raises(ConnectionAbortedError):
        async with asyncio.timeout(DEADLINE):
            await sending(body(1))
    assert request.is_aborted


async def test_nobody_waits_for_a_client_that_has_gone(daphne: Any) -> None:
    request, _, send = daphne
    sending = Sending(send, NEVER, "?")
    await sending(body(1))
    request.producer.pauseProducing()
    task = asyncio.create_task(sending(body(1)))
    await asyncio.sleep(0)
    request.producer.stopProducing()
    async with asyncio.timeout(DEADLINE):
        await task
    request.channel = None
    await sending(body(0, more=False))


async def test_of_a_server_that_says_nothing_the_application_lets_go() -> None:
    async def send(message: Message) -> None:
        await asyncio.Event().wait()

    sending = Sending(send, SOON, "?")
    with pytest.raises(ConnectionAbortedError):
        await sending(body(1))
    await sending.finish()
