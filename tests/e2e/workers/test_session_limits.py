"""How many sessions there may be holds over all workers, however many come at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from tests.e2e.test_guide_dialect import guide_session, tool_call
from tests.e2e.workers.conftest import Workers, both_at, both_stores, every_mode
from tests.e2e.workers.endpoints import FEW, LIMIT
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.opening import Opening, new_address, opened, try_to_open
from tests.e2e.workers.reading import messages, next_message, next_named, rest, text_of
from tests.e2e.workers.test_endings import answered, assert_ended, assert_gone
from tests.harness.cluster import Cluster, through
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession

CLIENTS: Final = 200

of_one_and_of_all = pytest.mark.parametrize("whose", ["client", "all"])


@asynccontextmanager
async def watched(worker: ServerProcess, endpoint: str, gates: Gates) -> AsyncIterator[dict[str, int]]:
    """What a tool finds that looks into the store all the while; in the end it is told."""
    gate, found = gates.new(), dict[str, int]()
    session = await RawSession.open(worker.url)
    looking = asyncio.create_task(session.call("watch_live", {"endpoint": endpoint, "gate": gate}))
    await gates.noted(gate, "started")
    yield found
    gates.open(gate)
    found.update((await looking)["result"]["structuredContent"])


async def all_at_once(cluster: Cluster, endpoint: str, address: str | None) -> list[Opening]:
    """Two hundred clients of one address, or of as many, each at the next worker."""
    workers = [worker.at(endpoint) for worker in cluster.workers]
    turns = (workers[n % len(workers)] for n in range(CLIENTS))
    return await asyncio.gather(*(try_to_open(worker, address or new_address()) for worker in turns))


def its_address(whose: str) -> str | None:
    return new_address() if whose == "client" else None


@both_stores
@of_one_and_of_all
def test_no_more_than_the_limit_are_let_in(whose: str, cluster: Cluster, gates: Gates) -> None:
    async def scenario() -> None:
        endpoint, refused = f"/{whose}-rejects", 429 if whose == "client" else 503
        async with watched(cluster[0], endpoint, gates) as found:
            openings = await all_at_once(cluster, endpoint, its_address(whose))
        assert Counter(each.status for each in openings) == {200: LIMIT, refused: CLIENTS - LIMIT}
        assert (found["most"], found["last"]) == (LIMIT, LIMIT), found
        for each in openings:
            if each.status == refused:
                assert each.message["error"]["data"] == {"reason": "session_limit"}
                assert int(each.retry_after or 0) > 0 and each.session.session_id is None

    run(scenario())


@both_stores
@of_one_and_of_all
def test_as_many_are_ended_as_are_let_in_past_the_limit(whose: str, cluster: Cluster, gates: Gates) -> None:
    async def scenario() -> None:
        endpoint = f"/{whose}-replaces"
        async with watched(cluster[0], endpoint, gates) as found:
            openings = await all_at_once(cluster, endpoint, its_address(whose))
        assert {each.status for each in openings} == {200}
        assert (found["most"], found["last"]) == (LIMIT, LIMIT), found
        assert found["looks"] > 1

    run(scenario())


@every_mode
def test_the_next_session_ends_the_one_before_it(workers: Workers, gates: Gates) -> None:
    """With what it has open at the worker at which nobody opened anything."""

    async def scenario() -> None:
        here, there = both_at("/one", workers)
        address, loud, silent = new_address(), gates.new(), gates.new()
        session = await opened(here, address)
        steps = session.tool_call("steps", {"gates": [loud]}, token="t")
        quiet = session.tool_call("quiet", {"gate": silent})
        async with session.get() as standing, session.post(steps) as running:
            await next_message(running)
            waiting = asyncio.create_task(answered(session, quiet))
            await gates.noted(silent, "started")
            newcomer = await opened(there, address)
            assert_ended(messages(await rest(running))[-1], steps["id"])
            assert_ended(await waiting, quiet["id"])
            assert messages(await rest(standing)) == []
        for gate in (loud, silent):
            await gates.noted(gate, "cancelled")
        await assert_gone(session, both_at("/one", workers))
        assert await through(newcomer, here).status_of_ping() == 200

    run(scenario())


def test_the_guides_client_is_told_that_it_was_replaced_elsewhere(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        here, there = both_at("/one", workers)
        async with guide_session(here) as guide:
            gate = gates.new()
            call = asyncio.create_task(guide_call(guide, tool_call("quiet", {"gate": gate})))
            await gates.noted(gate, "started")
            await RawSession.open(there.url)
            limit, expired = await next_named(guide.response), await next_named(guide.response)
            assert (limit.event, limit.json()["session_id"]) == ("session-limit", guide.session_id)
            told = {"session_id": guide.session_id, "reason": "replaced"}
            assert (expired.event, expired.json()) == ("session-expired", told)
            assert await rest(guide.response) == []
            assert_ended(await call, 1)

    run(scenario())


async def guide_call(guide: Any, message: dict[str, Any]) -> dict[str, Any]:
    async with guide.post(message) as response:
        return dict(await response.json())


def test_who_opens_one_after_the_other_pushes_out_none_that_is_used_elsewhere(workers: Workers) -> None:
    """Two clients of one address: the one never uses what it opens."""

    async def scenario() -> None:
        here, there = both_at("/few", workers)
        address = new_address()
        used = await opened(there, address)
        key = text_of(await used.call("session_key"))
        await stored(workers[0], key)
        careless = [await opened(here, address) for _ in range(4 * FEW)]
        live = [await through(each, there).status_of_ping() for each in careless]
        assert live == [404] * (len(careless) - FEW + 1) + [200] * (FEW - 1)
        for worker in (here, there):
            assert await through(used, worker).status_of_ping() == 200

    run(scenario())


async def stored(worker: ServerProcess, key: str) -> None:
    """Wait until the store knows that the session was used: uses are written together."""
    session = await RawSession.open(worker.url)
    while (await session.call("requests_of", {"key": key}))["result"]["structuredContent"]["result"] < 1:
        await asyncio.sleep(0.02)
