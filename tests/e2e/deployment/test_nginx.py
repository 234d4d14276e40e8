"""docs/deployment/nginx.conf in a real nginx, before two processes on PostgreSQL."""

from __future__ import annotations

import asyncio
import http.client
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.e2e.conftest import started
from tests.e2e.deployment.nginx import READ_TIMEOUT, Nginx, program, running
from tests.e2e.test_guide_dialect import EVENTS
from tests.e2e.workers.gates import FOLDER, Gates
from tests.e2e.workers.reading import messages, next_message, rest, text_of
from tests.harness.cluster import Cluster
from tests.harness.databases import PostgresTemplate
from tests.harness.pages import examples
from tests.harness.running import run
from tests.harness.server import STOP_DEADLINE, wait_until
from tests.harness.wire import ConnectionEnded, RawSession, request

OPTIONS: Final = {
    "HEARTBEAT_SECONDS": READ_TIMEOUT / 10,
    "STREAM_AFTER_SECONDS": READ_TIMEOUT / 10,
    "POLL_SECONDS": 0.05,
    "WORKER_TIMEOUT": 60,
    "DRAIN_SECONDS": 10,
    "MAX_SESSIONS_PER_CLIENT": None,
}
STEPS: Final = 3
FORGED: Final = "198.51.100.66"
CLIENT: Final = "127.0.0.2"
"""Another address of this machine, so that clients and nginx can be told apart."""


@pytest.fixture(scope="module")
def gates(tmp_path_factory: pytest.TempPathFactory) -> Gates:
    return Gates(tmp_path_factory.mktemp("gates"))


@pytest.fixture(scope="module")
def cluster(gates: Gates, postgres_template: PostgresTemplate) -> Iterator[Cluster]:
    program()  # Without nginx nothing need be started.
    cluster = Cluster(
        gates.folder,
        2,
        database_url=postgres_template.copy(),
        settings="tests.e2e.deployment.settings",
        server="tests.e2e.servers.workers:server",
        options=OPTIONS,
        # uvicorn would believe a proxy on this machine by itself.
        env={FOLDER: str(gates.folder), "FORWARDED_ALLOW_IPS": ""},
    )
    started.extend(cluster.workers)
    with cluster:
        yield cluster


@pytest.fixture(scope="module")
def nginx(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    with running(tmp_path_factory.mktemp("nginx"), cluster.workers) as nginx:
        yield nginx


async def echo(session: RawSession, text: str) -> int:
    """Which process has answered."""
    told = json.loads(text_of(await session.call("echo", {"text": text})))
    assert told["text"] == text
    return int(told["pid"])


def test_calls_of_one_session_are_answered_by_both(nginx: Nginx, cluster: Cluster) -> None:
    async def scenario() -> None:
        session = await RawSession.open(nginx.url)
        pids = {await echo(session, f"call {number}") for number in range(6)}
        assert pids == {worker.pid for worker in cluster.workers}

    run(scenario())


def test_progress_comes_while_the_tool_waits(nginx: Nginx, gates: Gates) -> None:
    """Each step is let go when the one before has arrived: what is buffered anywhere never would."""
    names = [gates.new() for _ in range(STEPS)]

    async def scenario() -> None:
        session = await RawSession.open(nginx.url)
        call = session.tool_call("steps", {"gates": names}, token="report")
        # A client that takes gzip: who compresses events, collects them.
        async with session.post(call, Accept_Encoding="gzip") as response:
            for number, name in enumerate(names, 1):
                assert (await next_message(response)).json()["params"]["progress"] == number
                gates.open(name)
            assert (await next_message(response)).json()["id"] == call["id"]

    run(scenario())


def test_an_open_stream_outlives_the_read_timeout(nginx: Nginx) -> None:
    async def scenario() -> None:
        session = await RawSession.open(nginx.url)
        async with session.get() as stream:
            loop = asyncio.get_running_loop()
            ends_at = loop.time() + 1.5 * READ_TIMEOUT
            reading = asyncio.ensure_future(stream.next_event())
            while not reading.done() and loop.time() < ends_at:
                await asyncio.wait({reading}, timeout=ends_at - loop.time())
                if reading.done() and reading.result().is_priming:
                    reading = asyncio.ensure_future(stream.next_event())
            assert not reading.done(), stream.seen
            assert len([each for each in stream.seen if each.is_comment]) > 1
            await session.call("say", {"texts": ["still here"]})
            assert "still here" in str((await reading).data)

    run(scenario())


def test_a_body_that_is_silent_for_longer_does_not(nginx: Nginx, gates: Gates) -> None:
    """What the page says of the guide's POSTs that take JSON alone; and that the timeout is in force."""
    gate = gates.new()

    async def scenario() -> int:
        session = await RawSession.open(nginx.url)
        told = {"X-Session-ID": str(session.session_id), "Content-Type": "application/json"}
        body = json.dumps(session.tool_call("quiet", {"gate": gate})).encode()
        async with request("POST", nginx.url, {**told, "Accept": "application/json"}, body) as response:
            await response.body()
            return response.status

    try:
        assert run(scenario()) == 504
    finally:
        gates.open(gate)


def test_a_reload_costs_no_event(nginx: Nginx, gates: Gates) -> None:
    names = [gates.new() for _ in range(STEPS)]

    async def scenario() -> None:
        session = await RawSession.open(nginx.url)
        call = session.tool_call("steps", {"gates": names}, token="report")
        async with session.post(call) as response:
            first = await next_message(response)
            nginx.reload()
            with pytest.raises(ConnectionEnded):
                await response.next_event()
        for name in names:
            gates.open(name)
        async with session.get(first.id) as response:
            after = messages(await rest(response))
        assert [each["params"]["progress"] for each in after[:-1]] == list(range(2, STEPS + 1))
        assert after[-1]["id"] == call["id"] and "result" in after[-1]

    run(scenario())


def test_a_client_is_who_nginx_says_and_not_who_it_says(nginx: Nginx, cluster: Cluster) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, source_address=(CLIENT, 0), timeout=30)
    connection.request("GET", "/mcp", headers={**EVENTS, "X-Forwarded-For": FORGED})
    response = connection.getresponse()
    assert response.readline()
    connection.close()
    assert newest_address(cluster[0].env["DATABASE_URL"]) == CLIENT


def newest_address(database_url: str) -> str:
    """Whom the newest session is counted for."""
    import psycopg

    newest = "SELECT metadata FROM mcp_sessions_session ORDER BY created_at DESC LIMIT 1"
    with psycopg.connect(database_url) as database:
        ((metadata,),) = database.execute(newest).fetchall()
    return str((json.loads(metadata) if isinstance(metadata, str) else metadata)["address"])


@dataclass
class Traffic:
    """Calls through nginx while processes restart, and how they were answered."""

    session: RawSession
    answered: int = 0
    statuses: list[int] = field(default_factory=list)

    async def go_on(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self.call()

    async def call(self) -> None:
        message = self.session.tool_call("echo", {"text": f"call {self.answered}"})
        while True:
            async with self.session.post(message) as response:
                body = await response.body()
            self.statuses.append(response.status)
            if response.status == 200:
                assert json.loads(body)["id"] == message["id"]
                self.answered += 1
                return
            assert response.status == 502 or "retry-after" in response.headers, (response.status, body)
            await asyncio.sleep(0.05)


def test_the_health_check(cluster: Cluster) -> None:
    command, status = examples("deployment.md")["head"].splitlines()
    *_, host, url = shlex.split(command)
    assert " -I " in command and url == "http://127.0.0.1:8001/mcp"
    name, _, value = host.partition(": ")

    async def scenario() -> int:
        async with request("HEAD", cluster[0].url, {name: value}) as response:
            return response.status

    assert run(scenario()) == int(status)


def test_processes_restart_in_turn(nginx: Nginx, cluster: Cluster) -> None:
    async def scenario() -> None:
        rolled = asyncio.Event()
        traffic = [Traffic(await RawSession.open(nginx.url)) for _ in range(2)]
        calling = [asyncio.ensure_future(each.go_on(rolled)) for each in traffic]
        try:
            for worker in cluster.workers:
                await worker.restart_beside()
        finally:
            rolled.set()
            await asyncio.gather(*calling)
        statuses = [status for each in traffic for status in each.statuses]
        assert all(each.answered > 2 for each in traffic)
        assert set(statuses) <= {200, 502, 503}
        # A connection that each makes in the very moment may be cut; one that is refused costs nothing.
        assert statuses.count(502) <= len(cluster) * len(traffic), statuses

    run(scenario())


def test_no_id_is_in_what_nginx_writes(nginx: Nginx, cluster: Cluster) -> None:
    """Also where nobody answers: errors quote requests."""

    async def ask(query: str) -> int:
        async with request("GET", f"{nginx.url}?{query}", EVENTS) as response:
            return response.status

    async def scenario() -> str:
        async with request("GET", nginx.url, EVENTS) as stream:
            session_id = str((await stream.next_event()).json()["session_id"])
            assert await ask(f"session_id={session_id}") == 200
        await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in cluster.workers))
        assert await ask(f"session_id={session_id}") == 502
        return session_id

    session_id = run(scenario())
    # It writes when a request is over for it, which may be later than for the client.
    for line in ('"GET /mcp" 200', '"GET /mcp" 502'):
        assert wait_until(lambda line=line: line in nginx.text("shop.access.log"), STOP_DEADLINE), line
    written: dict[str, Any] = {file.name: nginx.text(file.name) for file in nginx.folder.glob("*.log")}
    assert [name for name, text in written.items() if session_id in text] == []
    # Of tests that run in several processes no one is the last.
    cluster.start()
