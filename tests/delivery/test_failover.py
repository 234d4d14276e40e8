"""Streams that nobody writes to any more: what is said of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from mcp_sessions import background, jsonrpc
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.identifiers import new_stream_name, new_worker_name
from mcp_sessions.records import MESSAGE
from mcp_sessions.stores import get_store
from tests.process import eventually
from tests.servers import DEADLINE
from tests.sessions import Open

pytestmark = pytest.mark.django_db(transaction=True)

LOST = "lost with their worker"


@pytest.mark.parametrize("answered", [0, 1, 2])
async def test_calls_are_lost_that_have_no_answer(
    process: None, new_session: Open, answered: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The last answer may be stored without the end of its stream, if the worker leaves between the two."""
    session, hub = await new_session(), get_hub()
    stream = await hub.open(session.key, "post", [1, 2])
    for request_id in range(1, answered + 1):
        await (await hub.append(stream, MESSAGE, jsonrpc.encode(jsonrpc.result(request_id, {}))))
    hub.leave(stream)
    hub._failover.end_lost_calls()
    follower = hub.connections.follow(stream, 0, session.record)
    messages = [item async for item in follower.items()]
    assert len(messages) == 2
    follower.detach()
    expected = [f"session {session.key}: {2 - answered} calls were {LOST}"] if answered < 2 else []
    await eventually(lambda: said(caplog) == expected)


async def test_a_stream_that_has_ended_meanwhile_is_not_lost(
    process: None, new_session: Open, caplog: pytest.LogCaptureFixture
) -> None:
    session, hub = await new_session(), get_hub()
    stream = await hub.open(session.key, "post", [1])
    await (await hub.append(stream, MESSAGE, jsonrpc.encode(jsonrpc.result(2, {})), ends=True))
    await hub._failover._end(stream)
    assert said(caplog) == []


async def test_a_call_that_was_opened_in_two_attempts_is_not_lost(
    process: None, new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt may have been stored: its stream would be one that nobody writes to."""
    session, hub, open_stream = await new_session(), get_hub(), get_store().aopen_stream
    errors = [StoreUnavailable("It is unknown whether the transaction took place.")]

    async def open_and_fail(*arguments: Any) -> Any:
        opened = await open_stream(*arguments)
        if errors:
            raise errors.pop()
        return opened

    monkeypatch.setattr(get_store(), "aopen_stream", open_and_fail)
    stream = await hub.open(session.key, "call", [7])
    assert not errors and list((await get_store().afind_streams(sessions=[session.key])).values()) == [stream]
    assert stream.writer == hub.worker_name and stream.request_ids == (7,)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if LOST in message]


# What a dead worker has left is ended by its heir, whatever becomes of the store meanwhile


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)


async def left_by_a_dead_worker(new_session: Open) -> tuple[str, str]:
    """The worker's name, and that of the reply that it has not ended."""
    session, dead, reply = (await new_session()).record, new_worker_name(), new_stream_name()
    await get_store().aenlist(dead)
    await get_store().aopen_stream(session.key, reply, "post", dead, [7])
    await get_store().aleave(dead)
    return dead, reply


async def until_it_is_told(reply: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await get_store().afind_streams([reply]))[reply].ended_at is None:
            await asyncio.sleep(0.01)
    reading = await get_store().aread(reply, 0, 10)
    assert reading is not None
    (event,) = reading.events
    assert json.loads(event.data)["error"]["data"] == {"reason": "worker_lost"}


async def test_an_heir_ends_what_it_took_over_before_the_store_went_away(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not know that it was this: the next who asks finds nothing left of the dead."""
    dead, reply = await left_by_a_dead_worker(new_session)
    worker, store = get_hub()._worker, get_store()
    heir = await worker.get_name()
    take_over = store.take_over

    def take_over_and_fail(*arguments: Any) -> Any:
        take_over(*arguments)
        raise StoreUnavailable("It went away in between.")

    with monkeypatch.context() as patched, suppress(StoreUnavailable):
        patched.setattr(store, "take_over", take_over_and_fail)
        await store.arun(worker._take_over, store, dead, heir)
    await until_it_is_told(reply)


async def test_an_heir_tries_until_it_has_ended_everything(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it serves nobody, so that nothing else has it look again."""
    dead, reply = await left_by_a_dead_worker(new_session)
    worker, store = get_hub()._worker, get_store()
    heir = await worker.get_name()
    find_streams, failed = store.afind_streams, 0

    async def fail_twice(*arguments: Any, **options: Any) -> Any:
        nonlocal failed
        if "writers" in options and failed < 2:
            failed += 1
            raise StoreUnavailable("It is away.")
        return await find_streams(*arguments, **options)

    monkeypatch.setattr(store, "afind_streams", fail_twice)
    await store.arun(worker._take_over, store, dead, heir)
    await until_it_is_told(reply)
    assert failed == 2
    await eventually(lambda: get_hub()._failover._ending.is_idle)
