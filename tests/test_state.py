"""What tools keep in a session."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mcp_sessions import get_session
from mcp_sessions.exceptions import (
    InvalidSessionData,
    LeaseLost,
    MCPSessionsError,
    NestedEdit,
    SessionBusy,
    SessionEnded,
)
from mcp_sessions.lifecycle import end
from mcp_sessions.models import Session
from mcp_sessions.state import SessionState, current_session
from mcp_sessions.stores import get_store
from tests.process import in_thread
from tests.servers import DEADLINE
from tests.sessions import Open


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
    ids=["object", "set", "bytes", "nan", "infinity", "NUL", "surrogate", "time"],
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
