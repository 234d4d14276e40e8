"""What waits in 2026-07-28 for a client that reads slowly: bounded in bytes and in messages."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from mcp_sessions.protocol import modern
from mcp_sessions.protocol.outgoing import WAITING, Message, Outgoing

KILO: Final = 1024
BOUND: Final = 100 * KILO


@pytest.fixture(autouse=True)
def bounded(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "BUFFER_BYTES": BOUND}


def body(message: Message | None) -> bytes:
    return b"" if message is None else bytes(message.get("body", b""))


def held(outgoing: Outgoing) -> int:
    return sum(len(body(message)) for message in outgoing._messages)


async def send_all(outgoing: Outgoing, bodies: list[bytes]) -> None:
    for each in bodies:
        await outgoing.put({"type": "http.response.body", "body": each, "more_body": True})
    outgoing.end()


@pytest.mark.parametrize(
    ("size", "most"), [(30 * KILO, BOUND + 30 * KILO), (300 * KILO, 300 * KILO), (1, WAITING)]
)
async def test_whoever_sends_waits_until_the_client_has_taken_enough(size: int, most: int) -> None:
    outgoing = Outgoing()
    bodies = [bytes([number]) * size for number in range(WAITING + 20)]
    sending = asyncio.create_task(send_all(outgoing, bodies))
    taken = []
    while not sending.done():
        # It sends as much as it may, and then waits: each of these is a step of its own.
        for _ in bodies:
            await asyncio.sleep(0)
            assert held(outgoing) <= most
        if not sending.done():
            taken.append(body(await outgoing.get()))
    while (message := await outgoing.get()) is not None:
        taken.append(body(message))
    assert taken == bodies
    assert outgoing._size == 0


async def test_the_end_is_not_waited_with() -> None:
    outgoing = Outgoing()
    await outgoing.put({"body": b"x" * 2 * BOUND})
    outgoing.end()
    assert body(await outgoing.get()) and await outgoing.get() is None


async def test_every_reply_of_the_sdk_goes_through_such_a_queue() -> None:
    nothing: Any = None
    application = modern._Application(nothing, nothing, nothing, nothing, nothing)
    await application._send({"body": b"x" * 2 * BOUND})
    waiting = asyncio.create_task(application._send({"body": b"y"}))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    await application._sent.get()
    await waiting
