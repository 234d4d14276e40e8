"""Two workers on one database, and metrics that are right for both together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import started
from tests.e2e.metrics.datagrams import Datagrams
from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.reading import rest
from tests.harness.cluster import Cluster, through
from tests.harness.databases import PostgresTemplate
from tests.harness.running import eventually, run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, request

SERVED: Final = "example_project.helpdesk.server:server"
PROMETHEUS: Final = "mcp_sessions.metrics.prometheus.PrometheusMetrics"
OPTIONS: Final[dict[str, Any]] = {
    "POLL_SECONDS": 0.05,
    "SESSION_METRICS": [True, PROMETHEUS],
    "SERVERS": {
        "/brief": {"SERVER": SERVED, "SESSION_TIMEOUT": 1.5, "SESSION_WARNING_SECONDS": None},
        "/guide": SERVED,
        "/counted": SERVED,
        "/killed": SERVED,
    },
}
LONG: Final = 600.0
"""A process pauses a hundred times longer than its count of sessions took: on a busy machine, minutes."""
Samples = dict[tuple[str, str], float]
"""(name, reason) of each, and its value."""


@pytest.fixture(scope="module")
def datagrams() -> Iterator[Datagrams]:
    found = Datagrams()
    yield found
    found.close()


@pytest.fixture(scope="module")
def cluster(
    postgres_template: PostgresTemplate, datagrams: Datagrams, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("metrics")
    env = {
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("prometheus")),
        "DD_AGENT_HOST": "127.0.0.1",
        "DD_DOGSTATSD_PORT": str(datagrams.port),
    }
    cluster = Cluster(
        folder,
        2,
        database_url=postgres_template.copy(),
        options=OPTIONS,
        env=env,
        settings="tests.e2e.metrics.settings",
    )
    started.extend(cluster.workers)
    with cluster:
        yield cluster


def test_the_guides_names_in_statsd(cluster: Cluster, datagrams: Datagrams) -> None:
    """A session opened here, read and ended there; and one whose time runs out."""

    async def scenario() -> None:
        here, there = (worker.at("/guide") for worker in cluster.workers)
        session = await RawSession.open(here.url)
        async with through(session, there).get() as stream:
            await stream.next_event()
            stream.cut()
        ends = "server:/guide", "reason:client"
        await eventually(lambda: len(datagrams.told(*ends)) == 1)
        assert await through(session, there).delete() == 204
        async with guide_session(here, "/brief") as guide:
            await rest(guide.response)
        await eventually(lambda: {"mcp.session.ended", "mcp.session.duration"} <= names("server:/guide"))
        await eventually(lambda: {"mcp.session.expired", "mcp.session.duration"} <= names("server:/brief"))
        await eventually(lambda: len(datagrams.told("server:/brief", "reason:session")) == 1)

        said = str(datagrams.told())
        assert session.session_id is not None
        assert session.session_id not in said and guide.session_id not in said

    def names(*tags: str) -> set[str]:
        return {each.name for each in datagrams.told(*tags)}

    run(scenario())
    assert told(datagrams, "server:/guide", "dialect:specification") == {
        ("mcp.session.created", ""): 1,
        ("mcp.session.connection.established", ""): 1,
        ("mcp.session.connection.closed", "reason:client"): 1,
        ("mcp.session.ended", "reason:deleted"): 1,
        ("mcp.session.duration", ""): 1,
    }
    assert told(datagrams, "server:/brief", "dialect:guide") == {
        ("mcp.session.created", ""): 1,
        ("mcp.session.connection.established", ""): 1,
        ("mcp.session.expired", "reason:expired"): 1,
        ("mcp.session.duration", ""): 1,
        ("mcp.session.connection.closed", "reason:session"): 1,
    }
    [duration] = [each for each in datagrams.told("server:/brief") if each.name == "mcp.session.duration"]
    assert duration.kind == "ms"
    assert 1500 <= duration.value < 60_000
    assert "mcp.session.active_count" in {each.name for each in datagrams.told()}


def told(datagrams: Datagrams, *tags: str) -> Counter[tuple[str, str]]:
    """(name, tag of the reason) of every metric with these tags, and how often it came."""
    reasons = ((each.name, *(tag for tag in each.tags if "reason:" in tag)) for each in datagrams.told(*tags))
    return Counter((name, "".join(rest)) for name, *rest in reasons)


def test_the_gauge_is_of_both_and_does_not_freeze(cluster: Cluster, datagrams: Datagrams) -> None:
    """The last session ends at one worker: the other, where nothing happens any more, says so too."""

    # A worker that another test has killed says nothing any more.
    before = len(datagrams.told())

    def last() -> dict[int, float]:
        counts = [each for each in datagrams.told()[before:] if each.name == "mcp.session.active_count"]
        return {each.sender: each.value for each in counts}

    async def scenario() -> None:
        here, there = (worker.at("/counted") for worker in cluster.workers)
        sessions = [await RawSession.open(worker.url) for worker in (here, there, there)]
        await eventually(lambda: list(last().values()) == [3, 3], LONG)
        for session in sessions:
            assert await through(session, here).delete() == 204
        await eventually(lambda: list(last().values()) == [0, 0], LONG)

    run(scenario(), 2 * LONG)


def test_prometheus_asks_either_worker_and_one_is_killed(cluster: Cluster) -> None:
    """A worker is killed, and what it has counted counts on."""

    async def scenario() -> None:
        here, there = (worker.at("/killed") for worker in cluster.workers)
        first, second, kept = [await RawSession.open(worker.url) for worker in (here, there, there)]
        async with first.get() as stream:
            await stream.next_event()
            assert await through(first, there).delete() == 204
            await rest(stream)
        assert await second.delete() == 204
        expected: Samples = {
            ("mcp_session_created_total", ""): 3,
            ("mcp_session_ended_total", "deleted"): 2,
            ("mcp_session_connection_established_total", ""): 1,
            ("mcp_session_connection_closed_total", "session"): 1,
            ("mcp_session_duration_seconds_count", ""): 2,
            ("mcp_session_active", ""): 1,
        }
        await both_say(cluster, expected)
        await asyncio.to_thread(cluster[0].kill)
        assert await through(kept, there).delete() == 204
        await cluster[0].start_beside()
        fourth = await RawSession.open(here.url)
        later = {("mcp_session_created_total", ""): 4, ("mcp_session_ended_total", "deleted"): 3}
        await both_say(cluster, {**expected, **later, ("mcp_session_duration_seconds_count", ""): 3})
        assert await fourth.delete() == 204

    run(scenario())


async def both_say(cluster: Cluster, expected: Samples) -> None:
    """Each by itself comes to say it, for what was counted may still be on its way."""
    async with asyncio.timeout(30):
        while [await scraped(worker, expected) for worker in cluster.workers] != [expected] * 2:
            await asyncio.sleep(0.05)


async def scraped(worker: ServerProcess, wanted: Samples) -> Samples:
    """What a worker says of the endpoint's sessions, and of all that live; every reason that there is."""
    async with request("GET", f"{worker.origin}/metrics") as response:
        body = (await response.body()).decode()
        assert response.status == 200, body
    names = {name for name, _ in wanted}
    return {
        (sample.name, sample.labels.get("reason", "")): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
        if sample.name in names and sample.labels.get("server", "/killed") == "/killed"
    }
