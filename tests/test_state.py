"""What is kept in a session: by tools, and by the rest of the project."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import json
import signal
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
from django.conf import settings as project
from django.db import transaction
from django.utils import timezone

from mcp_sessions import aload_session, get_session, load_session
from mcp_sessions.exceptions import (
    InvalidSessionData,
    LeaseLost,
    MCPSessionsError,
    NestedEdit,
    SessionBusy,
    SessionEnded,
    SessionNotFound,
    StoreUnavailable,
)
from mcp_sessions.lifecycle import end, open_session
from mcp_sessions.models import Session
from mcp_sessions.runtime import current
from mcp_sessions.state import SessionState, current_session
from mcp_sessions.state.leases import LEASE_SECONDS
from mcp_sessions.state.requests import RequestSession
from mcp_sessions.state.turns import Turns
from mcp_sessions.stores import get_store
from mcp_sessions.stores.storable import deserialize
from tests.process import eventually, in_thread
from tests.serializers import COMPRESSED, CompressedJSON
from tests.servers import DEADLINE
from tests.sessions import Open, open_sync
from tests.stores.database.aliases import on


async def data_of(session: SessionState) -> Any:
    return deserialize(await in_thread(lambda: Session.objects.get(key=session.key).data))


async def leased(session: SessionState) -> bool:
    return await in_thread(lambda: bool(Session.objects.get(key=session.key).lease_token))


async def leased_until(session: SessionState) -> datetime:
    until = await in_thread(lambda: Session.objects.get(key=session.key).lease_until)
    assert until is not None
    return until


async def somebody_takes(session: SessionState, token: str = "theirs") -> None:
    """Another process leases the data for hours, whether or not it is leased here."""
    later = timezone.now() + timedelta(minutes=20)
    assert await get_store().alease(session.key, token, later, later + timedelta(minutes=20)) is not None


def increment(data: dict[str, Any]) -> None:
    data["count"] = data.get("count", 0) + 1


def with_setting(settings: Any, **changes: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **changes}


Forward = Callable[[float], None]


@pytest.fixture
async def forward(new_session: Open, monkeypatch: pytest.MonkeyPatch) -> Forward:
    """Put the clock of the runtime's loop, by which edits time out, forward by so many seconds."""
    loop, shift = asyncio.get_running_loop(), 0.0
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + shift)

    def put(seconds: float) -> None:
        nonlocal shift
        shift += seconds

    return put


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


async def test_data_behaves_like_a_dict(new_session: Open) -> None:
    session = await new_session()
    async with session.edit() as data:
        data.update(basket=["tea"], count=2)
    assert isinstance(session.data, dict)
    assert json.loads(json.dumps(session.data)) == session.data == {"basket": ["tea"], "count": 2}
    assert ("count" in session.data, session.data.get("sum", 0), len(session.data)) == (True, 0, 2)
    assert {**session.data} == dict(session.data.items()) == session.data | {}


@pytest.mark.parametrize(
    "write",
    [
        lambda data: data.update(a=1),
        lambda data: data.setdefault("a", 1),
        lambda data: data.__setitem__("a", 1),
        lambda data: data.__delitem__("kept"),
        lambda data: data.__ior__({"a": 1}),
        lambda data: data.pop("kept"),
        lambda data: data.popitem(),
        lambda data: data.clear(),
    ],
    ids=["update", "setdefault", "set", "del", "|=", "pop", "popitem", "clear"],
)
async def test_data_cannot_be_written_to(new_session: Open, write: Callable[[Any], Any]) -> None:
    session = await new_session()
    async with session.edit() as data:
        data["kept"] = 1
    with pytest.raises(TypeError, match="inside edit"):
        write(session.data)
    assert session.data == {"kept": 1}


async def test_copies_of_data_can_be_written_to(new_session: Open) -> None:
    session = await new_session()
    for made in (dict(session.data), copy.copy(session.data), copy.deepcopy(session.data)):
        cast("dict[str, Any]", made)["a"] = 1
    assert session.data == {}


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

    async def edit(state: SessionState) -> None:
        async with state.edit() as data:
            count = data.get("count", 0)
            if awaits:
                await asyncio.sleep(0)
            data["count"] = count + 1

    await asyncio.wait_for(asyncio.gather(*map(edit, states)), 3 * DEADLINE)
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
    has_begun, may_take, has_taken, lease = (
        asyncio.Event(),
        asyncio.Event(),
        asyncio.Event(),
        get_store().alease,
    )

    async def slowly(*arguments: Any) -> Any:
        has_begun.set()
        await may_take.wait()
        found = await lease(*arguments)
        has_taken.set()
        return found

    monkeypatch.setattr(get_store(), "alease", slowly)
    task = asyncio.create_task(session.edit().__aenter__())
    await asyncio.wait_for(has_begun.wait(), DEADLINE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    may_take.set()
    await asyncio.wait_for(has_taken.wait(), DEADLINE)
    await eventually(lambda: current().service(Turns)._waiting == {})
    assert not await leased(session)


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
            later = timezone.now() + timedelta(minutes=20)
            assert await get_store().alease(session.key, "theirs", later, later) == {}
    assert session.data == await data_of(session) == {}
    assert await get_store().arelease(session.key, "theirs", {"theirs": 1})
    assert await data_of(session) == {"theirs": 1}


async def test_leases_go_by_the_stores_clock(new_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose own clock is ahead takes nobody's lease before its time."""
    session, now = await new_session(), timezone.now()
    store, attempts = get_store(), asyncio.Semaphore(0)
    lease = store.alease

    async def tried(*arguments: Any) -> Any:
        attempts.release()
        return await lease(*arguments)

    async def store_now() -> datetime:
        return now

    await store.alease(session.key, "theirs", now, now + timedelta(minutes=5))
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(minutes=20))
    monkeypatch.setattr(store, "anow", store_now)
    monkeypatch.setattr(store, "alease", tried)
    waiting = asyncio.create_task(fail_to_edit(session), context=contextvars.Context())
    async with asyncio.timeout(DEADLINE):
        for _ in range(3):
            await attempts.acquire()
        assert not waiting.done()
        assert await store.arelease(session.key, "theirs", None)
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_another_workers_lease_is_waited_for(new_session: Open) -> None:
    session = await new_session()
    now = timezone.now()
    await get_store().alease(session.key, "theirs", now, now + timedelta(minutes=20))

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
    with_setting(settings, EDIT_TIMEOUT=0.05)
    session = await new_session()
    await somebody_takes(session)
    with pytest.raises(SessionBusy):
        async with session.edit():
            pytest.fail("it was entered")
    assert await get_store().arelease(session.key, "theirs", None)


async def test_who_waits_too_long_in_this_process_gets_session_busy(
    new_session: Open, forward: Forward
) -> None:
    session, is_inside, may_leave = await new_session(), asyncio.Event(), asyncio.Event()

    async def edit_second() -> None:
        async with session.edit() as data:
            is_inside.set()
            await may_leave.wait()
            increment(data)

    async with session.edit() as data:
        increment(data)
        second = asyncio.create_task(edit_second(), context=contextvars.Context())
        third = asyncio.create_task(fail_to_edit(session), context=contextvars.Context())
        await eventually(lambda: current().service(Turns)._waiting[session.key] == 3)
        forward(20)
    await asyncio.wait_for(is_inside.wait(), DEADLINE)
    forward(11)
    with pytest.raises(SessionBusy):
        await asyncio.wait_for(third, DEADLINE)
    may_leave.set()
    await asyncio.wait_for(second, DEADLINE)
    assert await data_of(session) == {"count": 2}


async def fail_to_edit(session: SessionState) -> None:
    async with session.edit():
        pytest.fail("it was entered")


async def in_fresh_context(work: Any) -> Any:
    """As somebody else's task, which was not started inside the edit that goes on here."""
    return await asyncio.wait_for(asyncio.create_task(work, context=contextvars.Context()), DEADLINE)


async def test_the_waiting_for_ones_turn_and_for_the_lease_have_one_end(
    new_session: Open, forward: Forward
) -> None:
    session = await new_session()
    async with asyncio.timeout(DEADLINE * 10):
        holder = session.edit()
        await holder.__aenter__()
        waiting = asyncio.create_task(fail_to_edit(session), context=contextvars.Context())
        await eventually(lambda: current().service(Turns)._waiting[session.key] == 2)
        forward(20)
        # The lease is lost to another process, which keeps it: now one waits for that.
        await somebody_takes(session)
        with pytest.raises(LeaseLost):
            await holder.__aexit__(None, None, None)
        await eventually(lambda: current().service(Turns)._waiting[session.key] == 1)
        assert not waiting.done()
        forward(11)
        with pytest.raises(SessionBusy):
            await asyncio.wait_for(waiting, DEADLINE)


async def test_who_gives_up_waiting_leaves_the_others_their_turns(new_session: Open) -> None:
    session, order = await new_session(), list[int]()

    async def edit(number: int) -> None:
        async with session.edit():
            order.append(number)

    async with session.edit():
        tasks = [asyncio.create_task(edit(number), context=contextvars.Context()) for number in range(3)]
        await eventually(lambda: current().service(Turns)._waiting[session.key] == 4)
        tasks[1].cancel()
        await asyncio.wait({tasks[1]})
    await asyncio.wait_for(asyncio.gather(tasks[0], tasks[2]), DEADLINE)
    assert order == [0, 2]
    assert current().service(Turns)._waiting == {}


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


async def test_a_long_edit_of_a_session_that_ends_says_so_and_revives_nothing(
    new_session: Open, forward: Forward
) -> None:
    session = await new_session()
    with pytest.raises(SessionEnded):
        async with session.edit() as data:
            data["a"] = 1
            await end(session.key, "deleted")
            forward(LEASE_SECONDS)
            await eventually(lambda: current().service(Turns)._waiting == {}, "no renewal noticed it")
    row = await in_thread(lambda: Session.objects.get(key=session.key))
    assert (deserialize(row.data), row.end_reason) == ({}, "deleted")
    assert row.ended_at is not None


# The lease


async def test_a_lease_is_short_and_renewed(new_session: Open, forward: Forward) -> None:
    session = await new_session()
    async with session.edit() as data:
        data["a"] = 1
        until = await leased_until(session)
        assert until <= timezone.now() + timedelta(seconds=LEASE_SECONDS)
        for _ in range(3):
            forward(LEASE_SECONDS / 2)
            async with asyncio.timeout(DEADLINE):
                while (renewed := await leased_until(session)) == until:
                    await asyncio.sleep(0.01)
            assert until < renewed <= timezone.now() + timedelta(seconds=LEASE_SECONDS)
            until = renewed
    assert await data_of(session) == {"a": 1}


async def test_a_lease_never_goes_beyond_the_time_that_an_edit_has(settings: Any, new_session: Open) -> None:
    with_setting(settings, EDIT_TIMEOUT=5)
    session = await new_session()
    async with session.edit():
        assert await leased_until(session) <= timezone.now() + timedelta(seconds=5)


async def test_an_edit_that_takes_too_long_is_lost_to_the_next(new_session: Open, forward: Forward) -> None:
    session = await new_session()

    async def next_edit() -> None:
        async with SessionState(session.record).edit() as data:
            assert data == {}
            data["theirs"] = 1

    with pytest.raises(LeaseLost, match="EDIT_TIMEOUT"):
        async with session.edit() as data:
            data["mine"] = 1
            forward(30)
            # It is free while the one that lost it is still inside.
            await in_fresh_context(next_edit())
    assert await data_of(session) == {"theirs": 1}
    assert session.data == {}


async def test_an_edit_that_a_renewal_finds_lost_writes_nothing(new_session: Open, forward: Forward) -> None:
    session = await new_session()
    with pytest.raises(LeaseLost, match="another edit"):
        async with session.edit() as data:
            data["mine"] = 1
            await somebody_takes(session)
            assert await get_store().arelease(session.key, "theirs", {"theirs": 1})
            forward(LEASE_SECONDS)
            await eventually(lambda: current().service(Turns)._waiting == {}, "no renewal noticed it")
    assert await data_of(session) == {"theirs": 1}


async def test_an_edit_outlives_a_store_that_is_away_for_a_while(
    new_session: Open, forward: Forward, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, attempts = await new_session(), list[str]()

    async def fail(key: str, *_: Any) -> bool:
        attempts.append(key)
        raise StoreUnavailable("away")

    monkeypatch.setattr(get_store(), "arenew", fail)
    async with session.edit() as data:
        data["a"] = 1
        for number in (1, 2):
            forward(LEASE_SECONDS / 2)
            await eventually(lambda number=number: len(attempts) == number)  # type: ignore[misc]
    assert await data_of(session) == {"a": 1}


async def test_a_process_that_stops_gives_its_leases_back(new_session: Open) -> None:
    session = await new_session()
    with pytest.raises(LeaseLost, match="stopped"):
        async with session.edit() as data:
            data["a"] = 1
            await current().shutdown()
            assert not await leased(session)
    assert await data_of(session) == {}


async def test_data_is_serialized_once_per_edit(settings: Any, new_session: Open) -> None:
    with_setting(settings, SESSION_SERIALIZER=COMPRESSED)
    session = await new_session()
    before = CompressedJSON.written
    async with session.edit() as data:
        data["text"] = "\x00 and \ud800 are nothing to a serializer that writes bytes"
    assert CompressedJSON.written == before + 1
    assert session.data == await data_of(session) == data
    text: str = await in_thread(lambda: Session.objects.get(key=session.key).data)
    assert text.startswith("base64:")


async def test_what_a_serializer_refuses_writes_nothing(settings: Any, new_session: Open) -> None:
    with_setting(settings, SESSION_SERIALIZER=COMPRESSED)
    session = await new_session()
    with pytest.raises(InvalidSessionData, match="set is not JSON serializable"):
        async with session.edit() as data:
            data["value"] = {1, 2}
    assert not await leased(session)
    async with session.edit() as data:
        assert data == {}


# Readers


async def test_bodies_that_wait_block_nobody(settings: Any, new_session: Open) -> None:
    """More of them than the store has threads: none keeps one while it waits."""
    with_setting(settings, STORE_THREADS=2)
    sessions = [await new_session() for _ in range(5)]
    are_inside, may_leave = asyncio.Barrier(6), asyncio.Event()

    async def wait_inside(session: SessionState) -> None:
        async with session.edit() as data:
            increment(data)
            await are_inside.wait()
            await may_leave.wait()

    async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
        for session in sessions:
            tasks.create_task(wait_inside(session))
        await are_inside.wait()
        for session in sessions:
            assert (await aload_session(session.key)).data == {}
        may_leave.set()
    assert [(await aload_session(session.key)).data for session in sessions] == [{"count": 1}] * 5


# Synchronous code, and other loops


async def test_synchronous_code_edits(new_session: Open) -> None:
    session = await new_session()

    def work() -> None:
        with session.edit() as data:
            assert data == {}
            increment(data)
        assert session.data == {"count": 1}
        with pytest.raises(KeyError), session.edit() as data:
            increment(data)
            raise KeyError
        with pytest.raises(InvalidSessionData), session.edit() as data:
            data["value"] = object()

    await in_thread(work)
    assert await data_of(session) == {"count": 1}
    assert not await leased(session)


async def test_threads_and_tasks_wait_for_each_other(new_session: Open) -> None:
    session = await new_session()

    def in_threads() -> None:
        for _ in range(5):
            with SessionState(session.record).edit() as data:
                increment(data)

    async def in_tasks() -> None:
        for _ in range(5):
            async with SessionState(session.record).edit() as data:
                count = data.get("count", 0)
                await asyncio.sleep(0)
                data["count"] = count + 1

    await asyncio.gather(*(in_thread(in_threads) for _ in range(4)), *(in_tasks() for _ in range(4)))
    assert await data_of(session) == {"count": 40}


async def test_another_loop_edits(new_session: Open) -> None:
    """As an asynchronous view does under WSGI."""
    session = await new_session()

    async def work() -> None:
        async with session.edit() as data:
            await asyncio.sleep(0)
            increment(data)
        with pytest.raises(TimeoutError):
            # Inside: who is cancelled while it begins has no lease to give back yet.
            async with asyncio.timeout(None) as timeout, session.edit() as data:
                increment(data)
                timeout.reschedule(asyncio.get_running_loop().time())
                await asyncio.Event().wait()

    await in_thread(lambda: asyncio.run(work()))
    assert await data_of(session) == {"count": 1}
    assert not await leased(session)


async def test_a_loop_that_would_wait_for_itself_is_told(new_session: Open) -> None:
    session = await new_session()
    with pytest.raises(RuntimeError, match=r"would block.* `async with session\.edit\(\)`"), session.edit():
        pytest.fail("it was entered")
    record = await get_store().aload_by_key(session.key)
    assert record is not None
    with pytest.raises(RuntimeError, match=r"would block.* asave\(\)"):
        RequestSession(record).save()
    async with session.edit() as data:
        increment(data)
    assert await data_of(session) == {"count": 1}


@pytest.mark.django_db(transaction=True)
def test_who_is_interrupted_while_it_waits_leaves_nothing_behind() -> None:
    """As Celery's soft time limit does: a signal whose handler raises."""
    key = open_sync()
    later = timezone.now() + timedelta(minutes=20)
    get_store().lease(key, "theirs", later, later)
    turns, is_interrupted, main = current().service(Turns), threading.Event(), threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        while not turns._waiting.get(key):
            pass
        # Again and again: a signal that comes just before the main thread blocks does not wake it.
        while not is_interrupted.wait(0.01):
            signal.pthread_kill(main, signal.SIGALRM)

    def raise_timeout(*_: object) -> None:
        if not is_interrupted.is_set():
            is_interrupted.set()
            raise TimeoutError("the soft time limit")

    handler = signal.signal(signal.SIGALRM, raise_timeout)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(TimeoutError, match="soft"), load_session(key).edit():
            pytest.fail("it was entered")
    finally:
        thread.join()
        signal.signal(signal.SIGALRM, handler)
    assert get_store().release(key, "theirs", {"theirs": 1})
    with load_session(key).edit() as data:
        increment(data)
    assert load_session(key).data == {"theirs": 1, "count": 1}


@on("postgres")
def test_an_edit_is_no_part_of_the_callers_transaction(settings: Any) -> None:
    if "postgres" not in project.DATABASES:
        pytest.skip("no server answers for the database 'postgres'")
    store = {"BACKEND": "mcp_sessions.stores.database.DatabaseSessionStore", "OPTIONS": {"alias": "postgres"}}
    with_setting(settings, SESSION_STORE=store)
    session = load_session(open_sync())
    with pytest.raises(KeyError), transaction.atomic(using="postgres"):
        with session.edit() as data:
            increment(data)
        raise KeyError("rolls the transaction back")
    assert load_session(session.key).data == {"count": 1}


# Edits inside of edits


async def test_synchronous_edits_inside_of_edits_raise_at_once(new_session: Open) -> None:
    session = await new_session()

    def fail_to_nest() -> None:
        with pytest.raises(NestedEdit), SessionState(session.record).edit():
            pytest.fail("it was entered")

    def nest() -> None:
        with session.edit() as data:
            increment(data)
            fail_to_nest()

    await in_thread(nest)
    async with session.edit() as data:
        increment(data)
        await asyncio.to_thread(fail_to_nest)
    assert await data_of(session) == {"count": 2}


async def test_another_session_may_be_edited_inside(new_session: Open) -> None:
    first, second = await new_session(), await new_session()

    def work() -> None:
        with first.edit() as a, second.edit() as b:
            a["a"], b["b"] = 1, 2

    await in_thread(work)
    assert (await data_of(first), await data_of(second)) == ({"a": 1}, {"b": 2})


async def test_a_task_that_was_started_inside_may_edit_when_that_is_over(new_session: Open) -> None:
    session, is_over = await new_session(), asyncio.Event()

    async def later() -> None:
        with pytest.raises(NestedEdit):
            await fail_to_edit(session)
        await is_over.wait()
        async with session.edit() as data:
            increment(data)

    async with session.edit() as data:
        increment(data)
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
    is_over.set()
    await asyncio.wait_for(task, DEADLINE)
    assert await data_of(session) == {"count": 2}


# Outside of calls


@pytest.mark.django_db(transaction=True)
def test_a_task_of_celerys_edits_a_session_that_it_knows_by_its_key() -> None:
    key = open_sync()
    with load_session(key).edit() as data:
        increment(data)
    assert load_session(key).data == {"count": 1}


async def test_a_session_is_loaded_by_its_key_or_its_id(new_session: Open) -> None:
    await new_session()
    session_id, record = await open_session("/mcp", "", {"dialect": "specification"}, "initialize")
    for name in (session_id, record.key):
        assert (await aload_session(name)).key == record.key
        assert (await in_thread(lambda name=name: load_session(name))).key == record.key  # type: ignore[misc]


async def test_a_session_that_is_not_live_is_not_loaded(new_session: Open) -> None:
    session = await new_session()
    await end(session.key, "deleted")
    for key in (session.key, "unknown"):
        with pytest.raises(SessionNotFound):
            await aload_session(key)


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
