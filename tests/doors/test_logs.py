"""The log: whose line it is, what becomes of sessions, and what SESSION_DEBUG tells of requests."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any, Final

import pytest
from django.utils import timezone

from mcp_sessions import signals
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exceptions import StoreNotMigrated
from mcp_sessions.lifecycle import aextend_session, purge
from mcp_sessions.logs import SessionFilter, about, context_of
from mcp_sessions.models import Session
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, call, initialize, notification, request
from tests.doors.conftest import OpenClient, either_loop, every_door, on_mount, streaming
from tests.doors.doors import Door
from tests.process import eventually, in_thread, only_session
from tests.servers import gates

LIFE: Final = "mcp_sessions.sessions"
REQUESTS: Final = "mcp_sessions.requests"
SESSIONS: Final = 4
CALLS: Final = 5
"""Of each session, of each tool."""


class Lines:
    """Everything that was logged, as a handler with the filter gets it."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def of(self, *loggers: str) -> list[Any]:
        return [record for record in self._caplog.records if record.name in loggers]

    def all(self) -> list[Any]:
        return list(self._caplog.records)

    def events(self) -> list[tuple[str, str, str]]:
        """(event, reason, level) of each event of a session's life."""
        return [(each.mcp_event, each.mcp_reason, each.levelname) for each in self.of(LIFE)]

    def request(self) -> Any:
        """The line of the last request."""
        return self.of(REQUESTS)[-1]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Lines]:
    for name in ("mcp_sessions", "shop"):
        caplog.set_level(logging.DEBUG, name)
    session_filter = SessionFilter()
    caplog.handler.addFilter(session_filter)
    yield Lines(caplog)
    caplog.handler.removeFilter(session_filter)


@pytest.fixture
def debugging(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_DEBUG": True}


async def set_row(**values: Any) -> None:
    await in_thread(lambda: Session.objects.update(**values))


# -- whose line it is ------------------------------------------------------------------------


@streaming
async def test_what_a_tool_logs_has_the_key_of_its_session(
    connect: OpenClient, lines: Lines, gate: str
) -> None:
    """While twenty calls of each kind of four sessions run at once."""
    clients = [await connect() for _ in range(SESSIONS)]
    keys = [await client.call("session_key") for client in clients]
    calls = [
        client.call(tool, {"text": f"{key} {tool} {number}", "gate": gate}, id=f"{tool} {number}")
        for client, key in zip(clients, keys, strict=True)
        for tool in ("write", "write_in_thread")
        for number in range(CALLS)
    ]
    running = [asyncio.ensure_future(each) for each in calls]
    await eventually(lambda: len(gates[gate].log) == len(calls))
    gates[gate].open()
    await asyncio.gather(*running)
    written = lines.of("shop.tools")
    # Three of each asynchronous call: of its own, of its task and of its thread.
    assert len(written) == SESSIONS * CALLS * (3 + 1)
    assert {(each.mcp_session, each.mcp_server) for each in written} == {(key, "/mcp") for key in keys}
    assert [each for each in written if not each.getMessage().startswith(f"{each.mcp_session} ")] == []


@on_mount
async def test_what_a_call_sets_off_for_others_is_not_logged_for_its_session(
    connect: OpenClient, lines: Lines
) -> None:
    client = await connect()
    await client.ask(call("progress", {"steps": 2}, token="report"))
    (begun,) = [each for each in lines.of("mcp_sessions.delivery") if "begins" in each.getMessage()]
    assert (begun.mcp_session, begun.mcp_server) == ("-", "-")


@either_loop
async def test_a_call_that_fails_is_logged_for_its_session(
    connect: OpenClient, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("a mistake in a handler")

    client = await connect()
    monkeypatch.setattr("mcp_sessions.protocol.dispatch.ServerRunner.on_request", fail)
    await client.ask(call("echo"))
    (failed,) = [each for each in lines.of("mcp_sessions.protocol") if each.exc_info]
    assert failed.mcp_session == (await only_session()).key


async def test_what_is_logged_about_the_clients_progress_has_the_key(
    connect: OpenClient, lines: Lines, gate: str
) -> None:
    """It arrives by another request. The callback's own lines have it, and that of its failure."""
    client = await connect(capabilities={"sampling": {}})
    response = await client.post(call("sample_with_progress", {"gate": gate, "fails": True}))
    token = (await response.next_message())["params"]["_meta"]["progressToken"]
    await client.notify("notifications/progress", {"progressToken": token, "progress": 1})
    await eventually(lambda: lines.of("mcp_sessions.runtime"))
    written = lines.of("shop.tools", "mcp_sessions.runtime")
    assert [each.mcp_session for each in written] == [(await only_session()).key] * 2
    await client.cancel(1)
    await response.messages()


@pytest.mark.parametrize("is_async", [False, True])
async def test_what_a_receiver_logs_has_the_key(connect: OpenClient, lines: Lines, is_async: bool) -> None:
    def receive(**_: Any) -> None:
        logging.getLogger("shop").info("a session was opened")
        raise RuntimeError("a receiver's own mistake")

    async def areceive(**told: Any) -> None:
        receive(**told)

    receiver = areceive if is_async else receive
    signals.session_created.connect(receiver)
    try:
        await connect()
        await flush_deferred()
    finally:
        signals.session_created.disconnect(receiver)
    written = lines.of("shop", "mcp_sessions.signals")
    assert len(written) == 2
    assert {each.mcp_session for each in written} == {(await only_session()).key}


async def test_the_filter_overrides_nothing_and_lets_everything_through(new_session: Any) -> None:
    session = (await new_session()).record

    def filtered(**given: str) -> tuple[str, str]:
        record: Any = logging.makeLogRecord(given)
        assert SessionFilter().filter(record) is True
        return record.mcp_session, record.mcp_server

    assert filtered() == ("-", "-")
    inside = context_of(session)
    assert inside.run(filtered) == (session.key, "/mcp")
    assert inside.run(partial(filtered, **about("another"))) == ("another", "-")
    assert inside.run(lambda: context_of(None).run(filtered)) == ("-", "-")
    assert filtered() == ("-", "-")


async def test_a_task_of_the_process_speaks_for_nobody(new_session: Any, lines: Lines) -> None:
    session = (await new_session()).record

    async def work() -> None:
        logging.getLogger("shop").info("work")

    async def begin() -> None:
        await current().spawn(work(), "work")
        await current().spawn(work(), "work", context_of(session))

    await asyncio.create_task(begin(), context=context_of(session))
    assert [each.mcp_session for each in lines.of("shop")] == ["-", session.key]


# -- what becomes of sessions ----------------------------------------------------------------


@on_mount
async def test_the_life_of_a_session(connect: OpenClient, lines: Lines) -> None:
    client = await connect()
    key = (await only_session()).key
    stream = await client.get()
    await aextend_session(key, 7200)
    await client.delete()
    await stream.body()
    assert lines.events() == [
        ("opened", "initialize", "INFO"),
        ("connection_opened", "get", "DEBUG"),
        ("extended", "", "INFO"),
        ("ended", "deleted", "INFO"),
        ("connection_closed", "session", "DEBUG"),
    ]
    assert {(each.mcp_session, each.mcp_server) for each in lines.of(LIFE)} == {(key, "/mcp")}
    opened, *_, ended, _ = (each.getMessage() for each in lines.of(LIFE))
    assert (opened, ended) == (f"session {key} opened at /mcp", f"session {key} ended: deleted")


@on_mount
async def test_a_guides_session_is_resumed_warned_and_expires(
    door: Door, lines: Lines, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Coming back is no use that moves the end, and may take a while.
    times = {"SESSION_TIMEOUT": 4, "SESSION_WARNING_SECONDS": 3.9, "SESSION_REFRESH_THRESHOLD": 0.1}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **times}
    is_back, warn = asyncio.Event(), get_store().awarn

    async def once_it_is_back(*arguments: Any) -> bool:
        await is_back.wait()
        return await warn(*arguments)

    monkeypatch.setattr(get_store(), "awarn", once_it_is_back)
    client = McpClient(door)
    first = await client.get()
    told = (await first.next_event()).json()
    again = await client.get(**{"X-Session-ID": told["session_id"]})
    is_back.set()
    await again.body()
    await first.body()
    await eventually(lambda: "expired" in [event for event, *_ in lines.events()])
    found = [event for event in lines.events() if not event[0].startswith("connection")]
    assert found == [
        ("opened", "stream", "INFO"),
        ("resumed", "stream", "INFO"),
        ("warned", "expiring", "INFO"),
        ("expired", "expired", "INFO"),
    ]


@on_mount
async def test_limits(connect: OpenClient, door: Door, lines: Lines, settings: Any) -> None:
    limits = {"MAX_SESSIONS_PER_CLIENT": 1, "MAX_CONNECTIONS_PER_SESSION": 1}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **limits}
    first = await connect()
    left = await first.get()
    newest = await first.get()
    await left.body()
    await connect()
    await newest.body()
    await asyncio.to_thread(
        setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, "SESSION_REPLACEMENT_POLICY": "reject"}
    )
    refused = await McpClient(door).post(initialize())
    assert refused.status == 429
    reached = [each for each in lines.of(LIFE) if each.mcp_event == "limit_reached"]
    first_key = lines.of(LIFE)[0].mcp_session
    assert [(each.mcp_reason, each.levelname, each.mcp_session) for each in reached] == [
        ("connections", "INFO", first_key),
        ("replaced", "WARNING", first_key),
        # It was never stored: its key would name nothing.
        ("principal", "WARNING", "-"),
    ]
    assert reached[-1].getMessage() == (
        "a session of 192.0.2.1 was refused: MAX_SESSIONS_PER_CLIENT is reached"
    )
    assert ("ended", "replaced", "INFO") in lines.events()


async def test_a_session_that_is_asked_for_elsewhere(connect: OpenClient, door: Door, lines: Lines) -> None:
    client = await connect()
    assert await McpClient(door, "/other", session_id=client.session_id).status() == 404
    (refused,) = [each for each in lines.of(LIFE) if each.mcp_event == "refused"]
    assert (refused.mcp_session, refused.mcp_reason, refused.levelname) == (
        (await only_session()).key,
        "endpoint",
        "WARNING",
    )


async def test_each_endpoint_may_have_a_logger_of_its_own(door: Door, lines: Lines, settings: Any) -> None:
    chosen = settings.MCP_SESSIONS
    servers = {**chosen["SERVERS"], "/other": {"SERVER": "tests.servers:other", "SESSION_LOGGER": "shop.b"}}
    settings.MCP_SESSIONS = {**chosen, "SERVERS": servers, "SESSION_LOGGER": "shop.a"}
    await McpClient(door).open()
    await McpClient(door, "/other").open()
    told = [(each.name, each.mcp_server) for each in lines.all() if hasattr(each, "mcp_event")]
    assert told == [("shop.a", "/mcp"), ("shop.b", "/other")]


# -- SESSION_DEBUG ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_on", [True, False])
async def test_each_endpoint_may_be_looked_at_by_itself(
    door: Door, lines: Lines, settings: Any, is_on: bool
) -> None:
    chosen = settings.MCP_SESSIONS
    other = {"SERVER": "tests.servers:other", "SESSION_DEBUG": is_on}
    settings.MCP_SESSIONS = {**chosen, "SERVERS": {**chosen["SERVERS"], "/other": other}}
    await McpClient(door).open()
    await McpClient(door, "/other").open()
    told = {each.mcp_server for each in lines.of(REQUESTS)}
    assert told == ({"/other"} if is_on else set())


@every_door
async def test_a_request_and_what_became_of_it(connect: OpenClient, debugging: None, lines: Lines) -> None:
    client = await connect()
    await client.call("echo", {"text": "a secret of the client"})
    told, key = lines.request(), (await only_session()).key
    assert (told.levelname, told.mcp_event, told.mcp_session, told.mcp_server) == (
        "DEBUG",
        "request",
        key,
        "/mcp",
    )
    assert (told.mcp_method, told.mcp_status, told.mcp_reply) == ("tools/call", 200, "json")
    assert (told.mcp_named_by, told.mcp_revision, told.mcp_reason) == ("mcp-session-id", "2025-11-25", "-")
    assert told.mcp_milliseconds > 0 and len(told.mcp_worker) == 16
    assert told.getMessage().startswith("POST /mcp tools/call: 200 json in ")
    opening = lines.of(REQUESTS)[0]
    assert (opening.mcp_method, opening.mcp_session, opening.mcp_named_by) == ("initialize", key, "-")


@on_mount
async def test_streams_are_told_apart(connect: OpenClient, debugging: None, lines: Lines) -> None:
    client = await connect(version="2025-03-26")
    await client.ask(call("progress", {"steps": 1}, token="report"))
    assert (lines.request().mcp_method, lines.request().mcp_reply) == ("tools/call", "stream")
    assert lines.request().mcp_revision == "2025-03-26"
    stream = await client.get()
    assert (lines.request().getMessage()[:8], lines.request().mcp_reply) == ("GET /mcp", "stream")
    await client.post([request("ping", id=1), notification("a/b")])
    assert (lines.request().mcp_method, lines.request().mcp_reply) == ("ping +1", "json")
    await client.delete()
    assert (lines.request().mcp_status, lines.request().mcp_reply) == (204, "empty")
    await stream.body()


@on_mount
async def test_the_guides_ways_to_a_session(door: Door, debugging: None, lines: Lines) -> None:
    client = McpClient(door)
    stream = await client.get()
    first = await stream.next_event()
    session_id = first.json()["session_id"]
    ways: dict[str, dict[str, Any]] = {
        "x-session-id": {"headers": {"X-Session-ID": session_id}},
        "session_id": {"path": f"/mcp?session_id={session_id}"},
        "sse_session": {"path": f"/mcp?sse_session={session_id}"},
    }
    for way, how in ways.items():
        await McpClient(door, how.get("path", "/mcp")).post(request("ping"), how.get("headers"))
        assert (lines.request().mcp_named_by, lines.request().mcp_session) == (
            way,
            lines.of(LIFE)[0].mcp_session,
        )
    again = await client.get(first.id)
    assert (lines.request().mcp_named_by, lines.request().mcp_status) == ("last-event-id", 200)
    await again.disconnect()
    await stream.disconnect()


async def test_why_a_session_was_not_found(
    connect: OpenClient, door: Door, debugging: None, lines: Lines
) -> None:
    client = await connect()
    key = (await only_session()).key

    async def why(session_id: str | None = client.session_id, path: str = "/mcp") -> tuple[str, str, int]:
        asking = McpClient(door, path, session_id=session_id)
        await asking.status()
        told = lines.request()
        (line,) = [each for each in lines.of("mcp_sessions.lifecycle")[-1:] if each.mcp_reason]
        assert (line.mcp_session, line.mcp_reason) == (told.mcp_session, told.mcp_reason)
        return told.mcp_reason, told.mcp_session, told.mcp_status

    assert await why("not an id") == ("malformed", "-", 404)
    assert await why("A" * 32) == ("unknown", "-", 404)
    assert await why(path="/other") == ("endpoint", key, 404)
    # Before it was used: a use that is written later moves no end that is past.
    at = timezone.now() - timedelta(hours=1)
    await set_row(expires_at=at)
    assert await why() == ("expired", key, 404)
    await set_row(expires_at=at + timedelta(hours=2), owner="somebody")
    assert await why() == ("owner", key, 404)
    await set_row(owner="", ended_at=at, end_reason="deleted")
    assert await why() == ("deleted", key, 404)


async def test_other_refusals_and_errors(connect: OpenClient, debugging: None, lines: Lines) -> None:
    client = await connect()
    await client.post({"jsonrpc": "1.0"})
    assert (lines.request().mcp_status, lines.request().mcp_reason) == (400, "error -32600")
    await client.post(request("ping"), {"X-Session-ID": "B" * 32})
    assert (lines.request().mcp_status, lines.request().mcp_reason) == (400, "session_conflict")
    await client.post(request("no/such"))
    assert (lines.request().mcp_status, lines.request().mcp_reason) == (200, "error -32601")
    await client.send("A1B2C3D4")
    assert lines.request().getMessage().startswith("other /mcp")
    await client.send("PUT")
    assert (lines.request().mcp_status, lines.request().mcp_method) == (405, "-")


@pytest.mark.parametrize("method", ["A1B2C3D4E5F6", "two\nlines", "x" * 65, "shop-1234", ""])
async def test_what_clients_write_is_not_repeated(
    connect: OpenClient, debugging: None, lines: Lines, method: str
) -> None:
    client = await connect()
    await client.post(request(method))
    assert lines.request().mcp_method == "other"
    await client.post(request("ping"), {"MCP-Protocol-Version": "two words", "Mcp-Session-Id": None})
    assert lines.request().mcp_revision == "-"


@on_mount
async def test_no_line_has_a_session_id(
    connect: OpenClient, door: Door, debugging: None, lines: Lines
) -> None:
    """Not in the text and in no field, whichever way it came, and of sessions that are none."""
    client = await connect()
    guide = McpClient(door)
    stream = await guide.get()
    first = await stream.next_event()
    secrets = {str(client.session_id), first.json()["session_id"], str(first.id).split(".")[0], "C" * 32}
    for secret in sorted(secrets):
        for header in ("Mcp-Session-Id", "X-Session-ID", "Last-Event-ID"):
            for method in ("POST", "GET", "DELETE"):
                response = await guide.send(
                    method,
                    json.dumps(request(secret)).encode(),
                    {header: secret, "Content-Type": "application/json", "Accept": "text/event-stream, */*"},
                )
                await (response.disconnect() if response.is_stream else response.body())
        await McpClient(door, f"/mcp?session_id={secret}").post(request("ping"))
    await stream.disconnect()
    await set_row(expires_at=timezone.now())
    await in_thread(purge)
    assert len(lines.of(REQUESTS)) > 9 * len(secrets)
    written = [f"{each.getMessage()} {each.exc_text} {vars(each)}" for each in lines.all()]
    assert [line for line in written if any(secret in line for secret in secrets)] == []


async def test_a_database_that_was_not_migrated_is_a_line_and_no_traceback(
    door: Door, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise StoreNotMigrated(
            "The database lacks what migrations make, run manage.py migrate: no such table"
        )

    monkeypatch.setattr(type(get_store()), "create", refuse)
    response = await McpClient(door).post(initialize())
    assert response.status == 503
    assert (await response.json())["error"]["message"] == "The session store is not set up."
    (record,) = [each for each in caplog.records if each.name.startswith("mcp_sessions")]
    assert "run manage.py migrate" in record.getMessage()
    assert record.exc_info is None
