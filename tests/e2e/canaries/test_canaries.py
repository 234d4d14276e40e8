"""Nothing that opens a session or belongs to a user is where operators, logs and brokers would see it.

Clients send texts that are like no others through two workers, while everything is logged that any library
has to say. Then logs, database, Redis, what was published by the broker, the admin's pages and metrics are
searched for them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import celery
import psycopg
import pytest
import redis

from mcp_sessions.tasks import ANALYTICS, PURGE, WARN
from tests.e2e.canaries.hiding import forms, found
from tests.e2e.conftest import started
from tests.e2e.operations.celery_processes import forget
from tests.e2e.operations.conftest import RABBITMQ
from tests.e2e.test_guide_dialect import GuideStream, guide_session, tool_call
from tests.e2e.workers.conftest import redis_store
from tests.e2e.workers.gates import FOLDER
from tests.e2e.workers.reading import text_of
from tests.e2e.workers.senders import CelerySender, celery_worker, event
from tests.e2e.workers.test_dialects import initialize, posted
from tests.harness.cluster import Cluster
from tests.harness.databases import PostgresTemplate, SQLiteTemplate
from tests.harness.modern import result
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.services import REDIS, needed
from tests.harness.wire import RawSession, request

GOOD: Final = f"good+token/{secrets.token_hex(12)}="
BAD: Final = f"bad+token/{secrets.token_hex(12)}="
TOKENS: Final = {
    "BACKEND": "mcp_sessions.security.authentication.StaticTokens",
    "OPTIONS": {"tokens": {"ann": hashlib.sha256(GOOD.encode()).hexdigest()}},
}
SERVER: Final = "tests.e2e.servers.sessions:server"
STATSD: Final = "mcp_sessions.metrics.statsd.StatsDMetrics"
KEPT_IN: Final = {"session", "streamevent"}
"""Tables that have payloads: what tools keep, what is sent on streams, what clients answer."""

ADMIN: Final = """
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from mcp_sessions.models import Session
operator = User.objects.create_user("operator", is_staff=True)
operator.user_permissions.set(Permission.objects.filter(codename__in=["view_session", "end_session"]))
User.objects.create_superuser("admin")
names = [("changelist", []), ("dashboard", []), ("dashboard_figures", [])]
for pk in Session.objects.values_list("pk", flat=True):
    names += [("change", [pk]), ("history", [pk])]
for who in ("operator", "admin"):
    client = Client(HTTP_HOST="127.0.0.1")
    client.force_login(User.objects.get(username=who))
    for name, args in names:
        response = client.get(reverse(f"admin:mcp_sessions_session_{name}", args=args))
        assert response.status_code == 200, (name, response.status_code)
        print(f"== {who} {name}")
        print(response.content.decode())
"""


@dataclass
class Canaries:
    """What clients had and sent."""

    ids: set[str] = field(default_factory=set)
    """Session ids and sealed event ids."""
    payloads: set[str] = field(default_factory=set)
    printed: str = ""
    """By a command."""
    tokens: frozenset[str] = frozenset({GOOD, BAD})

    def payload(self) -> str:
        """A text that is like no other."""
        self.payloads.add(text := f"canary{secrets.token_hex(12)}")
        return text

    def saw(self, event: Any) -> Any:
        """Remember the ids in an event of a guide's stream."""
        self.ids.add(str(event.id).rpartition(".")[0])
        if event.event.startswith("session"):
            self.ids.add(event.json()["session_id"])
        return event

    @property
    def credentials(self) -> list[str]:
        return sorted((self.ids | self.tokens) - {""})


# -- what clients do -------------------------------------------------------------------------


async def use(here: ServerProcess, there: ServerProcess, canaries: Canaries) -> None:
    await use_as_the_guide(here, there, canaries)
    await use_as_the_specification(here, there, canaries)
    for path in ("/tokens", "/tokens-view"):
        await use_with_tokens(here.at(path), canaries)
    for path in ("/handles", "/handles-view"):
        await use_handles(here.at(path), there.at(path), canaries)


async def use_as_the_guide(here: ServerProcess, there: ServerProcess, canaries: Canaries) -> None:
    async with guide_session(here) as guide:
        canaries.ids |= {guide.session_id, guide.last_id.rpartition(".")[0]}
        elsewhere = replace(guide, url=there.url)
        await posted(guide, initialize("2025-11-25"))
        await use_tools(elsewhere, canaries)
        await answer_a_question(guide, elsewhere, canaries)
        canaries.printed += await asyncio.to_thread(
            there.manage, "rotate_mcp_session", guide.session_id, "--json"
        )
        while canaries.saw(rotated := await guide.response.next_event()).event != "session-rotated":
            pass
        new = replace(elsewhere, session_id=rotated.json()["session_id"])
        await use_tools(new, canaries)
        for url in (f"{there.url}?session_id={new.session_id}", there.url):
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(rotated.id)}
            async with request("GET", url, headers) as response:
                assert canaries.saw(await response.next_event()).event == "session-resumed"
        await fail(new, canaries)


async def use_tools(guide: GuideStream, canaries: Canaries) -> None:
    """Arguments, results, what is kept, messages and events."""
    await guide.call("echo", {"text": canaries.payload()})
    await guide.call("add", {"item": canaries.payload()})
    await guide.call("say", {"texts": [canaries.payload()]})
    await guide.call("announce", {"event": "note", "text": canaries.payload()})


async def answer_a_question(guide: GuideStream, elsewhere: GuideStream, canaries: Canaries) -> None:
    """It is asked by one worker and answered at the other, by way of the store."""
    call = tool_call("ask", {"question": canaries.payload()})
    running = asyncio.create_task(posted(elsewhere, call))
    while (
        not (event := canaries.saw(await guide.response.next_event())).is_message or "id" not in event.json()
    ):
        pass
    content = {"action": "accept", "content": {"name": canaries.payload()}}
    await posted(guide, {"jsonrpc": "2.0", "id": event.json()["id"], "result": content}, 202)
    await running


async def fail(guide: GuideStream, canaries: Canaries) -> None:
    """What is wrong is said in the log, and not what was sent."""
    for message in (
        tool_call("echo", {"nothing": canaries.payload()}),
        # By its name, which the SDK logs.
        tool_call("unknown", {"text": canaries.payload()}),
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": canaries.payload()},
        {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [canaries.payload()]},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": canaries.payload()}},
    ):
        async with guide.post(message) as response:
            await response.body()
    headers = {"Content-Type": "application/json", "X-Session-ID": guide.session_id}
    async with request("POST", guide.url, headers, f'{{"{canaries.payload()}'.encode()) as response:
        assert response.status == 400
    canaries.ids.add(unknown := secrets.token_hex(16).upper())
    async with request(
        "GET", f"{guide.url}?session_id={unknown}", {"Accept": "text/event-stream"}
    ) as response:
        await response.body()
    async with request("DELETE", guide.url, {"Mcp-Session-Id": unknown}) as response:
        assert response.status == 404


async def use_as_the_specification(here: ServerProcess, there: ServerProcess, canaries: Canaries) -> None:
    session = await RawSession.open(here.url)
    canaries.ids.add(str(session.session_id))
    elsewhere = replace(session, url=there.url)
    await elsewhere.call("echo", {"text": canaries.payload()})
    await elsewhere.call("say", {"texts": [canaries.payload()]})
    async with session.get() as stream:
        while not (await stream.next_event()).is_message:
            pass
    assert await elsewhere.delete() == 204
    assert await session.status_of_ping() == 404


async def use_handles(here: ServerProcess, there: ServerProcess, canaries: Canaries) -> None:
    """As clients of 2026-07-28 do; a handle is a credential."""
    opened = await called(here, "open_session", {"label": "a label is for operators"})
    canaries.ids.add(handle := opened["structuredContent"]["session"])
    await called(there, "add", {"sku": canaries.payload(), "session": handle})
    canaries.ids.add(made_up := secrets.token_hex(16).upper())
    for arguments in ({"session": made_up}, {"sku": [canaries.payload()], "session": handle}):
        assert (await called(here, "add", {"sku": "a", **arguments}))["isError"]
    await called(there, "end_session", {"session": handle})


async def called(server: ServerProcess, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return await result(server.url, "tools/call", {"name": tool, "arguments": dict(arguments)})


async def use_with_celery(server: ServerProcess, celery: CelerySender, canaries: Canaries) -> str:
    """A worker of Celery sends to a session and rotates it, by its key, which is returned."""
    async with guide_session(server) as guide:
        canaries.ids |= {guide.session_id, guide.last_id.rpartition(".")[0]}
        key = text_of(await guide.call("session_key", {}))
        await celery(event(key, "note", "from Celery"), ("rotate_session", [key], {}))
        while canaries.saw(await guide.response.next_event()).event != "session-rotated":
            pass
        return key


async def use_with_tokens(server: ServerProcess, canaries: Canaries) -> None:
    session = RawSession(server.url)
    message = session.message("initialize", initialize("2025-11-25")["params"])
    async with session.post(message, Authorization=f"Bearer {GOOD}") as response:
        assert response.status == 200, await response.body()
        session.session_id = response.headers["mcp-session-id"]
    canaries.ids.add(session.session_id)
    async with session.post(session.message("ping"), Authorization=f"Bearer {GOOD}") as response:
        assert response.status == 200
    for headers in ({"Authorization": f"Bearer {BAD}"}, {}):
        async with session.post(session.message("ping"), **headers) as response:
            assert response.status == 401
    in_the_url = replace(session, url=f"{server.url}?access_token={BAD}")
    async with in_the_url.post(session.message("ping")) as response:
        assert response.status in (400, 401)


# -- where it is looked for ------------------------------------------------------------------


@dataclass
class Broker:
    """Everything that is sent to Redis: what is stored there, and what is published."""

    commands: list[str] = field(default_factory=list)

    @property
    def published(self) -> bytes:
        return "\n".join(each for each in self.commands if each.upper().startswith("PUBLISH")).encode()


@contextmanager
def listening() -> Iterator[Broker]:
    broker, end = Broker(), uuid4().hex
    ready = threading.Event()

    def listen() -> None:
        with redis.Redis.from_url(REDIS, socket_timeout=None) as client, client.monitor() as monitor:
            ready.set()
            for command in monitor.listen():
                if end in command["command"]:
                    return
                broker.commands.append(command["command"])

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(30)
    yield broker
    with redis.Redis.from_url(REDIS) as client:
        client.echo(end)
    thread.join(30)
    assert not thread.is_alive()


def at_rabbitmq(key: str) -> bytes:
    """The app's tasks, and one of a project that names a session, as they wait at the broker."""
    queue, messages = f"mcp-sessions-{uuid4().hex[:12]}", list[bytes]()
    with celery.Celery(broker=RABBITMQ, set_as_current=False) as app, app.connection() as connection:
        for name, args in ((PURGE, ()), (WARN, ()), (ANALYTICS, ()), ("tests.send", ([event(key, "a", 1)],))):
            app.send_task(name, args, queue=queue, ignore_result=True)
        while (message := connection.default_channel.basic_get(queue, no_ack=True)) is not None:
            messages.append(json.dumps([message.body, message.headers], default=str).encode())
    forget(RABBITMQ, queue)
    return b"\n".join(messages)


@contextmanager
def statsd() -> Iterator[tuple[Mapping[str, Any], list[bytes]]]:
    """Where metrics go to, and what has come there when it is closed."""
    came: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        yield {"BACKEND": STATSD, "OPTIONS": {"port": here.getsockname()[1]}}, came
        here.setblocking(False)
        while True:
            try:
                came.append(here.recv(65536))
            except BlockingIOError:
                return


def rows_of(database_url: str) -> dict[str, bytes]:
    """All rows of each of the app's tables in PostgreSQL, and of all others together."""
    dump: dict[str, bytes] = {}
    with psycopg.connect(database_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (name,) in tables:
            rows = connection.execute(f'SELECT t::text FROM "{name}" t').fetchall()  # type: ignore[arg-type]
            dump[name.removeprefix("mcp_sessions_")] = "\n".join(row for (row,) in rows).encode()
    return dump


def file_of(database_url: str) -> bytes:
    file = Path(database_url.removeprefix("sqlite:///"))
    return b"".join(path.read_bytes() for path in sorted(file.parent.glob(f"{file.name}*")))


@pytest.mark.parametrize("store", ["database", "redis"])
def test_no_credential_and_no_payload_is_where_it_need_not_be(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    needed(REDIS, "Redis")
    needed(RABBITMQ, "RabbitMQ")
    databases: PostgresTemplate | SQLiteTemplate = request.getfixturevalue(
        "postgres_template" if store == "database" else "template"
    )
    database, canaries = databases.copy(), Canaries()
    stored = redis_store() if store == "redis" else None
    tokens = {"SERVER": SERVER, "AUTHENTICATORS": [TOKENS]}
    with listening() as broker, statsd() as (metrics, sent):
        options: dict[str, Any] = {
            "SERVERS": {
                "/tokens": tokens,
                "/tokens-view": {**tokens, "POST_THROUGH_DJANGO": True},
                "/handles": "tests.baskets:server",
                "/handles-view": {"SERVER": "tests.baskets:server", "POST_THROUGH_DJANGO": True},
            },
            "SESSION_METRICS": metrics,
            "STREAM_AFTER_SECONDS": 60,
            **(stored.__enter__() if stored is not None else {}),
        }
        cluster = Cluster(
            tmp_path,
            2,
            database_url=database,
            redis_url=REDIS,
            options=options,
            server=SERVER,
            settings="tests.e2e.canaries.settings",
            env={FOLDER: str(tmp_path)},
        )
        started.extend(cluster.workers)
        with cluster:
            run(use(cluster[0], cluster[1], canaries))
            with celery_worker(tmp_path, cluster[1], REDIS, "DEBUG") as worker:
                key = run(use_with_celery(cluster[0], worker, canaries))
            admin = cluster[0].manage("shell", "-c", ADMIN)
            rows = rows_of(database) if store == "database" else {"slim": file_of(database)}
    if stored is not None:
        stored.__exit__(None, None, None)
    processes = [*cluster.workers, worker]
    logs = "".join([canaries.printed, *(process.log() for process in processes)]).encode()
    everywhere = {
        "logs": logs,
        "admin": admin.encode(),
        "metrics": b"\n".join(sent),
        "redis": "\n".join(broker.commands).encode(),
        "rabbitmq": at_rabbitmq(key),
        **rows,
    }
    # That each place can be searched at all: something of these sessions is there.
    assert b"opened at /mcp" in logs and b"mcp.session.created" in everywhere["metrics"]
    assert b'"rotated": [1]' in logs and broker.published and admin.count("== ") > 6
    assert len(canaries.ids) > 17 and len(canaries.payloads) > 19
    assert found([key], everywhere["rabbitmq"]) and found([key], everywhere["redis"])
    assert {
        name: leaked for name, place in everywhere.items() if (leaked := found(canaries.credentials, place))
    } == {}
    as_operator = admin.partition("== admin")[0].encode()
    places = {
        "logs": logs,
        "admin": as_operator,
        "metrics": everywhere["metrics"],
        "broker": broker.published,
        "rabbitmq": everywhere["rabbitmq"],
    }
    assert {
        name: leaked for name, place in places.items() if (leaked := found(canaries.payloads, place))
    } == {}
    if store == "database":
        assert {name for name, place in rows.items() if found(canaries.payloads, place)} <= KEPT_IN
        assert found(canaries.payloads, rows["streamevent"])
    else:
        assert not found(canaries.payloads, rows["slim"])


# -- that the search finds what it looks for -------------------------------------------------


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc"])
def test_a_canary_is_found_however_it_is_hidden(before: bytes) -> None:
    import base64
    from urllib.parse import quote

    canary, behind = "id+with/signs=", b"and so on"
    text = before + canary.encode() + behind
    hidden = {
        "raw": text,
        "hex": text.hex().encode(),
        "base64": base64.b64encode(text),
        "for URLs": base64.urlsafe_b64encode(text),
        "URL": quote(text).encode().replace(b"/", b"%2F"),
    }
    assert [name for name, place in hidden.items() if not found([canary], place)] == []
    assert not found([canary], b"id+with/sign") and len(set(forms(canary))) > 5


def test_canaries_are_words_of_their_own() -> None:
    assert re.fullmatch(r"canary[0-9a-f]{24}", Canaries().payload())
    assert json.dumps(GOOD) == f'"{GOOD}"'
