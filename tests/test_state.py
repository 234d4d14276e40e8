"""What tools keep in a session, and messages to sessions from anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from mcp_sessions import (
    asend_resource_updated,
    asend_session_message,
    get_session,
    send_resource_updated,
    send_session_message,
)
from mcp_sessions.exceptions import (
    InvalidSessionData,
    LeaseLost,
    MCPSessionsError,
    NestedEdit,
    SessionBusy,
    SessionEnded,
    SessionNotFound,
)
from mcp_sessions.lifecycle import end, end_sync, open_session
from mcp_sessions.models import Session, StreamEvent
from mcp_sessions.runtime import adopt, run_sync
from mcp_sessions.state import SessionState, current_session
from mcp_sessions.stores import get_store
from tests.process import in_thread, rows
from tests.servers import DEADLINE

Open = Callable[..., Awaitable[SessionState]]
NEVER_A_KEY = "0" * 24


@pytest.fixture
async def new_session(process: None) -> Open:
    """Open a session on the test's own loop."""
    adopt()

    async def open_one(dialect: str = "specification") -> SessionState:
        _, record = await open_session("/mcp", "", {"dialect": dialect})
        return SessionState(record)

    return open_one


def open_sync(dialect: str = "guide") -> str:
    """A session's key, from synchronous code."""
    _, record = run_sync(open_session("/mcp", "", {"dialect": dialect}))
    return record.key


async def data_of(session: SessionState) -> Any:
    return await in_thread(lambda: Session.objects.get(key=session.key).data)


async def leased(session: SessionState) -> bool:
    return await in_thread(lambda: bool(Session.objects.get(key=session.key).lease_token))


# Data


async def test_data_is_what_the_last_edit_left(new_session: Open) -> None:
    session = await new_session()
    assert session.data == {}
    async with session.edit() as data:
        assert data == {}
        data["basket"] = ["tea"]
        assert session.data == {}
    assert session.data == await data_of(session) == {"basket": ["tea"]}
    assert not await leased(session)


async def test_data_cannot_be_written_to(new_session: Open) -> None:
    session = await new_session()
    with pytest.raises(TypeError):
        session.data["a"] = 1  # type: ignore[index]


async def test_data_may_be_emptied_and_hold_any_json(new_session: Open) -> None:
    session = await new_session()
    value = {"a": [1, 2.5, None, True, "ä😀\u2028", {"b": []}], "": {}, "big": 2**70}
    async with session.edit() as data:
        data.update(value)
    assert await data_of(session) == value
    async with session.edit() as data:
        data.clear()
    assert session.data == await data_of(session) == {}


@pytest.mark.parametrize("awaits", [False, True])
async def test_a_hundred_increments_at_once_keep_a_hundred(new_session: Open, awaits: bool) -> None:
    session = await new_session()
    # As a hundred calls have it: each with a record of its own, read before any of them began.
    states = [SessionState(session.record) for _ in range(100)]

    async def increment(state: SessionState) -> None:
        async with state.edit() as data:
            count = data.get("count", 0)
            if awaits:
                await asyncio.sleep(0)
            data["count"] = count + 1

    await asyncio.wait_for(asyncio.gather(*map(increment, states)), 3 * DEADLINE)
    assert await data_of(session) == {"count": 100}


async def test_edits_come_in_turn(new_session: Open) -> None:
    session = await new_session()

    async def add(number: int) -> None:
        async with session.edit() as data:
            data.setdefault("order", []).append(number)

    await asyncio.gather(*map(add, range(20)))
    assert session.data["order"] == list(range(20))


async def test_edits_of_two_sessions_do_not_wait_for_each_other(new_session: Open) -> None:
    first, second = await new_session(), await new_session()
    async with first.edit() as a, second.edit() as b:
        a["a"], b["b"] = 1, 2
    assert (await data_of(first), await data_of(second)) == ({"a": 1}, {"b": 2})


async def test_a_nested_edit_raises_at_once(new_session: Open) -> None:
    session = await new_session()
    async with session.edit() as data:
        data["a"] = 1
        with pytest.raises(NestedEdit):
            async with SessionState(session.record).edit():
                pytest.fail("it was entered")
    assert await data_of(session) == {"a": 1}
    async with session.edit() as data:
        data["a"] = 2
    assert await data_of(session) == {"a": 2}


async def test_an_exception_inside_writes_nothing(new_session: Open) -> None:
    session = await new_session()
    with pytest.raises(KeyError, match="mine"):
        async with session.edit() as data:
            data["a"] = 1
            raise KeyError("mine")
    assert session.data == await data_of(session) == {}
    assert not await leased(session)


async def test_a_cancelled_edit_writes_nothing_and_lets_go(new_session: Open) -> None:
    session = await new_session()
    is_inside = asyncio.Event()

    async def edit() -> None:
        async with session.edit() as data:
            data["a"] = 1
            is_inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(edit())
    await asyncio.wait_for(is_inside.wait(), DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await data_of(session) == {}
    assert not await leased(session)


async def test_an_edit_that_is_cancelled_while_it_begins_lets_go(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's thread takes the lease, whether or not anybody still waits for it."""
    session = await new_session()
    has_taken, may_return, lease = asyncio.Event(), asyncio.Event(), get_store().alease

    async def slowly(*arguments: Any) -> Any:
        found = await lease(*arguments)
        has_taken.set()
        await may_return.wait()
        return found

    monkeypatch.setattr(get_store(), "alease", slowly)
    task = asyncio.create_task(session.edit().__aenter__())
    await asyncio.wait_for(has_taken.wait(), DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_return.set()
    async with asyncio.timeout(DEADLINE):
        while await leased(session):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"bytes", float("nan"), float("inf"), "a\x00b", "a\ud800", {"a": timezone.now()}],
    ids=repr,
)
async def test_what_is_no_json_writes_nothing(new_session: Open, value: Any) -> None:
    session = await new_session()
    async with session.edit() as data:
        data["kept"] = 1
    with pytest.raises(InvalidSessionData):
        async with session.edit() as data:
            data["value"] = value
    assert session.data == await data_of(session) == {"kept": 1}
    assert not await leased(session)


async def test_what_is_nested_for_ever_writes_nothing(new_session: Open) -> None:
    session = await new_session("guide")
    endless: list[Any] = []
    endless.append(endless)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep):
        with pytest.raises(InvalidSessionData):
            async with session.edit() as data:
                data["value"] = value
        with pytest.raises(InvalidSessionData):
            await session.send_event("a", value)
    assert await data_of(session) == {}


async def test_too_much_data_writes_nothing(new_session: Open) -> None:
    session = await new_session()
    with pytest.raises(InvalidSessionData, match="1048576"):
        async with session.edit() as data:
            data["value"] = "x" * (1024 * 1024)
    assert await data_of(session) == {}
    assert not await leased(session)
    async with session.edit() as data:
        data["value"] = "x" * (1024 * 1024 - len('{"value":""}'))


async def test_a_lost_lease_writes_nothing(new_session: Open) -> None:
    session = await new_session()
    with pytest.raises(LeaseLost):
        async with session.edit() as data:
            data["mine"] = 1
            # Another worker finds the lease expired, and takes it.
            later = timezone.now() + timedelta(hours=1)
            assert await get_store().alease(session.key, "theirs", later, later) == {}
    assert session.data == await data_of(session) == {}
    assert await get_store().arelease(session.key, "theirs", {"theirs": 1})
    assert await data_of(session) == {"theirs": 1}


async def test_another_workers_lease_is_waited_for(new_session: Open) -> None:
    session = await new_session()
    now = timezone.now()
    await get_store().alease(session.key, "theirs", now, now + timedelta(hours=1))

    async def edit() -> None:
        async with session.edit() as data:
            data["mine"] = data["theirs"] + 1

    task = asyncio.create_task(edit())
    await asyncio.sleep(0)
    assert not task.done()
    await get_store().arelease(session.key, "theirs", {"theirs": 1})
    await asyncio.wait_for(task, DEADLINE)
    assert await data_of(session) == {"theirs": 1, "mine": 2}


async def test_who_waits_too_long_gets_session_busy(settings: Any, new_session: Open) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "EDIT_TIMEOUT": 0.05}
    session = await new_session()
    now = timezone.now()
    await get_store().alease(session.key, "theirs", now, now + timedelta(hours=1))
    with pytest.raises(SessionBusy):
        async with session.edit():
            pytest.fail("it was entered")
    assert await get_store().arelease(session.key, "theirs", None)


async def test_who_waits_too_long_in_this_process_gets_session_busy(settings: Any, new_session: Open) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "EDIT_TIMEOUT": 0.05}
    session = await new_session()
    is_inside, may_leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with session.edit() as data:
            data["a"] = 1
            is_inside.set()
            await may_leave.wait()

    task = asyncio.create_task(hold())
    await asyncio.wait_for(is_inside.wait(), DEADLINE)
    with pytest.raises(SessionBusy):
        async with session.edit():
            pytest.fail("it was entered")
    may_leave.set()
    # Nobody took the lease over, so what took longer than it is written all the same.
    await asyncio.wait_for(task, DEADLINE)
    assert await data_of(session) == {"a": 1}


async def test_a_session_that_has_ended_is_not_edited(new_session: Open) -> None:
    session = await new_session()
    with pytest.raises(SessionEnded):
        async with session.edit() as data:
            data["a"] = 1
            await end(session.key, "deleted")
    with pytest.raises(SessionEnded):
        async with session.edit():
            pytest.fail("it was entered")
    assert await data_of(session) == {}


@pytest.mark.parametrize("error", [KeyError, asyncio.CancelledError])
async def test_the_exception_inside_is_the_one_that_is_seen(
    new_session: Open, error: type[BaseException]
) -> None:
    """Also when the lease cannot be given back, because the session has ended meanwhile."""
    session = await new_session()
    with pytest.raises(error):
        async with session.edit():
            await end(session.key, "deleted")
            raise error


# Which session


async def test_there_is_no_session_outside_of_a_call(process: None) -> None:
    with pytest.raises(MCPSessionsError, match="no session here"):
        get_session()
    with pytest.raises(MCPSessionsError, match="no session here"):
        get_session(object())


async def test_the_session_is_the_one_of_the_running_call(new_session: Open) -> None:
    first, second = await new_session(), await new_session()

    async def find(state: SessionState) -> SessionState:
        token = current_session.set(state)
        try:
            await asyncio.sleep(0)
            return await asyncio.to_thread(get_session)
        finally:
            current_session.reset(token)

    assert list(await asyncio.gather(find(first), find(second))) == [first, second]


# Messages


def events() -> list[tuple[str, Any]]:
    return [(event.name, json.loads(event.data)) for event in StreamEvent.objects.order_by("pk")]


async def test_a_message_waits_for_a_guide_client(new_session: Open) -> None:
    session = await new_session("guide")
    assert await session.send_event("order-shipped", {"order": 7}) is True
    assert await asend_session_message(session.key, event="again", data=None) is True
    assert await in_thread(events) == [("order-shipped", {"order": 7}), ("again", None)]


async def test_a_session_may_be_named_by_its_id(new_session: Open) -> None:
    session_id, _ = await open_session("/mcp", "", {"dialect": "guide"})
    assert await asend_session_message(session_id, event="a") is True


async def test_clients_of_the_specification_get_no_named_events(new_session: Open) -> None:
    session = await new_session()
    assert await session.send_event("a", 1) is False
    assert await in_thread(events) == []


async def test_an_unknown_session_is_not_found(new_session: Open) -> None:
    ended = await new_session("guide")
    await end(ended.key, "deleted")
    for key in (NEVER_A_KEY, ended.key, "", "A" * 32, "a\x00b", "\ud800", "x" * 1000):
        with pytest.raises(SessionNotFound):
            await asend_session_message(key, event="a")


async def test_what_cannot_be_sent_is_refused_before_anything_else(new_session: Open) -> None:
    session = await new_session("guide")
    for name in ("", "message", "a b", "a\nb", "a\r", "\x00", "ä", "x" * 65):
        with pytest.raises(InvalidSessionData):
            await session.send_event(name, None)
        with pytest.raises(InvalidSessionData):
            send_session_message(session.key, event=name)
    for data in (object(), {1: object()}, float("nan"), b"a"):
        with pytest.raises(InvalidSessionData):
            await session.send_event("a", data)
    assert await in_thread(events) == []


async def test_any_text_may_be_sent(new_session: Open) -> None:
    session = await new_session("guide")
    data = {"text": "a\x00b\ud800\u2028\r\n\n", "n": 2**70}
    await session.send_event("a", data)
    assert await in_thread(events) == [("a", data)]


def test_synchronous_code_sends_too(process: None) -> None:
    key = open_sync()
    send_session_message(key, event="a", data=[1])
    assert events() == [("a", [1])]
    with pytest.raises(SessionNotFound):
        send_session_message(NEVER_A_KEY, event="a")


def test_within_a_transaction_it_is_sent_on_commit(process: None) -> None:
    key = open_sync()
    with transaction.atomic():
        with transaction.atomic():
            send_session_message(key, event="a")
        assert events() == []
    assert events() == [("a", None)]


def test_after_a_rollback_nothing_is_sent(process: None) -> None:
    key = open_sync()
    with pytest.raises(KeyError), transaction.atomic():
        send_session_message(key, event="a")
        send_resource_updated("note://1")
        raise KeyError
    assert events() == []


def test_the_unknown_are_found_out_on_commit(process: None) -> None:
    run_sync(open_session("/mcp", "", {}))
    with pytest.raises(SessionNotFound), transaction.atomic():
        send_session_message(NEVER_A_KEY, event="a")


async def subscribe(*keys: str) -> None:
    for key in keys:
        await get_store().asubscribe(key, "note://1")


UPDATED = (
    "message",
    {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "note://1"}},
)


async def test_subscribers_are_told_of_updates(new_session: Open) -> None:
    subscribed = [await new_session(), await new_session("guide"), await new_session()]
    await new_session()
    await subscribe(*(session.key for session in subscribed))
    await end(subscribed[-1].key, "deleted")
    assert await asend_resource_updated("note://1") == 2
    assert await asend_resource_updated("note://2") == 0
    assert await in_thread(events) == [UPDATED, UPDATED]


def test_synchronous_code_tells_of_updates_on_commit(process: None) -> None:
    key = open_sync("specification")
    run_sync(subscribe(key))
    with transaction.atomic():
        send_resource_updated("note://1")
        assert events() == []
    assert events() == [UPDATED]
    end_sync(key, "deleted")
    send_resource_updated("note://1")
    assert events() == [UPDATED]


async def test_a_bad_uri_has_no_subscribers(new_session: Open) -> None:
    for uri in ("", "a\x00b", "\ud800", "x" * 100_000):
        assert await asend_resource_updated(uri) == 0
    assert (await rows())["StreamEvent"] == 0
