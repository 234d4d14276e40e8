"""What happens to sessions is told once in the whole cluster, by the process that made it happen."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.hearing import Heard, heard
from tests.e2e.test_guide_dialect import PING, GuideStream, guide_session
from tests.e2e.workers.conftest import Workers, both_at, both_stores, signals_of
from tests.e2e.workers.endpoints import BRIEF_SECONDS
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import guide_stream, messages, rest, text_of
from tests.e2e.workers.test_endings import end_by_operator
from tests.harness.cluster import through
from tests.harness.running import eventually, run
from tests.harness.server import ServerProcess
from tests.harness.sse import Event
from tests.harness.wire import RawSession, Response

AT_ONCE: Final = 6
PURGE: Final = """
import time
from django.core.management import call_command
from tests.e2e.workers.gates import Gates
gates = Gates.of_process()
gates.note({begin!r}, "ready")
while not (gates.folder / {begin!r}).exists():
    time.sleep(0.001)
while not (gates.folder / {end!r}).exists():
    call_command("clear_mcp_sessions", verbosity=0)
"""


@pytest.fixture
def signals(gates: Gates) -> Path:
    return signals_of(gates)


def told(signals: Path, key: str) -> list[tuple[str, str]]:
    return [(each.name, each.reason) for each in heard(signals, key)]


async def until(signals: Path, key: str, condition: Callable[[Sequence[Heard]], bool]) -> None:
    await eventually(lambda: condition(heard(signals, key)))


async def all_is_told(workers: Sequence[ServerProcess], signals: Path) -> None:
    """A process sends its signals in order: once it has told of what came last, all before it is told."""
    for worker in workers:
        session = await RawSession.open(worker.url)
        key = text_of(await session.call("session_key"))
        assert await session.delete() == 204
        await until(signals, key, lambda found: any(each.name == "session_ended" for each in found))


def test_a_life_at_two_workers(workers: Workers, signals: Path) -> None:
    """Opened here, followed there, ended by another process: each tells what it has done."""

    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        key = text_of(await session.call("session_key"))
        elsewhere = through(session, there)
        async with session.get() as first:
            place = (await first.next_event()).id
            async with elsewhere.get(place) as second:
                assert messages(await rest(first)) == []
                await end_by_operator(there, "", key)
                assert messages(await rest(second)) == []
        await all_is_told(workers, signals)
        found = heard(signals, key)
        by_whom = [(each.name, each.reason, each.pid) for each in found if each.pid in (here.pid, there.pid)]
        assert sorted(by_whom) == sorted(
            [
                ("session_created", "initialize", here.pid),
                ("connection_opened", "get", here.pid),
                ("connection_closed", "replaced", here.pid),
                ("connection_opened", "get", there.pid),
                ("session_resumed", "stream", there.pid),
                ("connection_closed", "session", there.pid),
            ]
        )
        [other] = [each for each in found if each.pid not in (here.pid, there.pid)]
        assert (other.name, other.reason) == ("session_ended", "operator")
        assert len({each.stream for each in found if each.stream}) == 1

    run(scenario())


@both_stores
def test_every_connection_that_opens_closes(workers: Workers, signals: Path) -> None:
    """Because its client leaves, or another takes its place, or there are too many."""

    async def scenario() -> None:
        here, there = both_at("/two-streams", workers)
        session = await RawSession.open(here.url)
        key = text_of(await session.call("session_key"))
        elsewhere = through(session, there)
        async with session.get() as oldest, elsewhere.get() as left, session.get() as newest:
            assert messages(await rest(oldest)) == []
            left.cut()
            place = (await newest.next_event()).id
            await until(signals, key, lambda found: closed(found)["client"] == 1)
            async with elsewhere.get(place) as last:
                assert messages(await rest(newest)) == []
                assert await session.delete() == 204
                assert messages(await rest(last)) == []
        await all_is_told(workers, signals)
        found = heard(signals, key)
        opened = Counter(each.stream for each in found if each.name == "connection_opened")
        assert opened == Counter(each.stream for each in found if each.name == "connection_closed")
        assert closed(found) == Counter(["limit", "client", "replaced", "session"])
        limits = [each.reason for each in found if each.name == "session_limit_reached"]
        assert limits == ["connections"]

    run(scenario())


def closed(found: Sequence[Heard]) -> Counter[str]:
    return Counter(each.reason for each in found if each.name == "connection_closed")


@both_stores
def test_an_expiry_that_everybody_notices_at_once(workers: Workers, signals: Path, gates: Gates) -> None:
    """Both workers have streams of the sessions, two commands purge, and clients ask."""

    async def scenario() -> None:
        begin, end = gates.new(), gates.new()
        code = PURGE.format(begin=begin, end=end)
        purging = [asyncio.to_thread(worker.manage, "shell", "-v0", "-c", code) for worker in workers]
        purged = asyncio.gather(*purging)
        await eventually(lambda: len(gates.notes(begin)) == 2, 60)
        async with AsyncExitStack() as stack:
            guides = [await opened_at_both(both_at("/brief", workers), stack) for _ in range(AT_ONCE)]
            keys = [text_of(await guide.call("session_key", {})) for guide, _ in guides]
            reading = asyncio.gather(*(rest(each) for pair in guides for each in (pair[0].response, pair[1])))
            await asyncio.sleep(BRIEF_SECONDS - 0.5)
            gates.open(begin)
            heard_last = await reading
            statuses = [await status(guide, worker) for guide, _ in guides for worker in workers]
        gates.open(end)
        await purged
        await all_is_told(workers, signals)
        assert set(statuses) == {404}
        assert [last_word(events) for events in heard_last] == ["expired"] * 2 * AT_ONCE
        for key in keys:
            assert Counter(told(signals, key)) == {
                ("session_created", "stream"): 1,
                ("session_resumed", "stream"): 1,
                ("connection_opened", "get"): 2,
                ("session_warned", "expiring"): 1,
                ("session_expired", "expired"): 1,
                ("connection_closed", "session"): 2,
            }

    run(scenario())


async def opened_at_both(workers: Workers, stack: AsyncExitStack) -> tuple[GuideStream, Response]:
    guide = await stack.enter_async_context(guide_session(workers[0]))
    return guide, await stack.enter_async_context(guide_stream(guide, workers[1]))


async def status(guide: GuideStream, worker: ServerProcess) -> int:
    async with guide.post(PING) as response:
        await response.body()
        return int(response.status)


def last_word(events: list[Event]) -> str:
    reason: str = events[-1].json()["reason"]
    return reason
