"""The guide's dialect from the outside: the exact bytes that come back to its clients.

The transcripts are in guide/*.http: one for each client-side snippet of the guide (Establishing a
Session, Using Session ID in Requests, Session Resumption, SSE Session Events, Troubleshooting 1),
and the rest for what the project promises beyond them (docs/guide.md).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.test import override_settings
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp_types import TextContent

from mcp_sessions import sse
from tests.e2e.conftest import StartServer
from tests.e2e.guide.transcripts import FOLDER, Player
from tests.harness.node import Node
from tests.harness.running import run
from tests.harness.server import KINDS, Kind, ServerProcess
from tests.harness.sse import Event
from tests.harness.wire import RawSession, Response, answer, request

SERVED: Final[dict[str, Any]] = {
    "server": "tests.e2e.servers.guide:server",
    "settings": "tests.e2e.guide.settings",
}
EVENTS: Final = {"Accept": "text/event-stream"}
SESSION_TIMEOUT: Final = 1800
BRIEF_TIMEOUT: Final = 6
# A purge comes every 300 seconds; a busy machine may be late.
LATE_SECONDS: Final = 100.0
PROMPT_STOP_SECONDS: Final = 20.0
REPLAY_DEADLINE: Final = 10.0
GetNode = Callable[[], Node]

NOT_AS_OFTEN: Final = {"heartbeat"}
TRANSCRIPTS: Final = sorted({path.stem for path in FOLDER.glob("*.http")} - NOT_AS_OFTEN)


# Behind each server the transcripts are played, and ids looked for in what it logs. The rest is the app's.
@pytest.fixture(scope="module", params=["uvicorn"])
def server(request: pytest.FixtureRequest, start_server: StartServer) -> ServerProcess:
    return start_server(kind=request.param, **SERVED)


@asynccontextmanager
async def guide_session(server: ServerProcess, path: str | None = None) -> AsyncIterator[GuideStream]:
    """A session opened as the guide does it, and its stream."""
    url = server.origin + (path or server.path)
    async with request("GET", url, EVENTS) as response:
        event = await response.next_event()
        assert event.event == "session" and event.id is not None
        told = event.json()
        assert (await response.next_event()).event == "endpoint"
        expires_at = datetime.fromisoformat(told["expires_at"])
        yield GuideStream(response, url, told["session_id"], expires_at, event.id)


@dataclass(frozen=True)
class GuideStream:
    """A session of the guide's, its open stream, and POSTs to it."""

    response: Response
    url: str
    session_id: str
    expires_at: datetime
    last_id: str

    def post(self, message: Any, accept: str = "application/json") -> Any:
        headers = {"Content-Type": "application/json", "Accept": accept, "X-Session-ID": self.session_id}
        return request("POST", self.url, headers, json.dumps(message).encode())

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        async with self.post(tool_call(name, arguments)) as response:
            assert response.status == 200, await response.body()
            return await response.json()


def tool_call(name: str, arguments: dict[str, Any], token: str | None = None) -> dict[str, Any]:
    meta = {} if token is None else {"_meta": {"progressToken": token}}
    params = {"name": name, "arguments": arguments, **meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


PING: Final = {"jsonrpc": "2.0", "id": 2, "method": "ping"}


# -- byte by byte --------------------------------------------------------------------------


@pytest.mark.parametrize("server", KINDS, indirect=True)
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_every_byte_is_as_in_the_transcript(name: str, server: ServerProcess) -> None:
    async def scenario() -> None:
        async with Player(server) as player:
            await player.play(name)

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_kept_alive_and_a_page_can_see_it(kind: Kind, start_server: StartServer) -> None:
    often = json.dumps({"HEARTBEAT_SECONDS": 0.2})
    server = start_server(kind=kind, env={"E2E_MCP_SESSIONS": often}, **SERVED)

    async def scenario() -> None:
        async with Player(server) as player:
            await player.play("heartbeat")

    run(scenario())


# -- time ----------------------------------------------------------------------------------


def test_a_session_is_told_when_it_expires(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with guide_session(server) as guide:
            ends_in = guide.expires_at - datetime.now(UTC)
            assert timedelta(0) < timedelta(seconds=SESSION_TIMEOUT) - ends_in < timedelta(seconds=60)

    run(scenario())


def test_an_open_stream_hears_of_its_expiry_on_time(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with guide_session(server, "/brief") as guide:
            event = await after_warnings(guide)
            late = datetime.now(UTC) - guide.expires_at
            assert event.event == "session-expired" and event.json()["reason"] == "expired"
            assert timedelta(0) <= late < timedelta(seconds=LATE_SECONDS)

    run(scenario())


def test_a_warning_comes_once_and_before_the_end(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with guide_session(server, "/brief") as guide:
            warning = await guide.response.next_event()
            assert warning.event == "session-warning" and warning.id is None
            assert warning.json()["expires_in_seconds"] > 0
            assert (await guide.response.next_event()).event == "session-expired"

    run(scenario())


async def after_warnings(guide: GuideStream) -> Event:
    """The next event that is no warning; each new end is warned of."""
    while (event := await guide.response.next_event()).event == "session-warning":
        assert set(event.json()) == {"session_id", "expires_in_seconds", "message"}
    return event


def test_a_post_keeps_the_session_and_its_stream(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with guide_session(server, "/brief") as guide:
            while datetime.now(UTC) < guide.expires_at + timedelta(seconds=BRIEF_TIMEOUT / 2):
                async with guide.post(PING) as response:
                    assert response.status == 200, await response.body()
                last_used = datetime.now(UTC)
                await asyncio.sleep(BRIEF_TIMEOUT / 10)
            event = await after_warnings(guide)
            assert event.event == "session-expired"
            ended_after = datetime.now(UTC) - last_used
            assert timedelta(seconds=BRIEF_TIMEOUT / 2) < ended_after < timedelta(seconds=LATE_SECONDS)

    run(scenario())


# -- how many streams ------------------------------------------------------------------------


def test_the_limit_of_streams_holds_for_those_that_come_at_once(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with guide_session(server) as guide, asyncio.TaskGroup() as group:
            have_begun = [asyncio.Event() for _ in range(8)]

            async def last_event(has_begun: asyncio.Event) -> str | None:
                headers = {**EVENTS, "X-Session-ID": guide.session_id}
                async with request("GET", guide.url, headers) as response:
                    assert (await response.next_event()).event == "session-resumed"
                    has_begun.set()
                    return (await response.next_event()).event

            readers = [group.create_task(last_event(has_begun)) for has_begun in have_begun]
            for has_begun in have_begun:
                await has_begun.wait()
            await guide.call("announce", {"event": "note", "text": "for those who are left"})
            last = [await reader for reader in readers] + [(await guide.response.next_event()).event]
            assert (last.count("note"), last.count("session-limit")) == (3, 6)

    run(scenario())


# -- what a stream's ids open -----------------------------------------------------------------

GONE: Final = (
    b"id: session-is-gone\nevent: session-expired\n"
    b'data: {"session_id": "", "reason": "session_not_found"}\n\n'
    b'id: session-is-gone\nevent: error\ndata: {"error": "session_not_found", "message": "Session not found: '
    b'it has expired or never existed. Connect without a session id."}\n\n'
)


def tampered(place: str) -> str:
    middle = len(place) // 2
    return place[:middle] + ("A" if place[middle] != "A" else "B") + place[middle + 1 :]


def sealed(server: ServerProcess, session_id: str, *, endpoint: str = "/mcp", owner: str = "") -> str:
    """What the server itself would make, with its own key."""
    with override_settings(SECRET_KEY=server.env["SECRET_KEY"]):
        return f"{sse.seal(sse.Sealed(session_id, '0' * 16), endpoint=endpoint, owner=owner)}.0"


Forge = Callable[[ServerProcess, GuideStream], str]
FORGED: Final[dict[str, Forge]] = {
    "one character changed": lambda _, guide: tampered(guide.last_id),
    "the last character gone": lambda _, guide: guide.last_id.removesuffix(".0")[:-1] + ".0",
    "sealed by another key": lambda _, guide: (
        f"{sse.seal(sse.Sealed(guide.session_id, '0' * 16), endpoint='/mcp', owner='')}.0"
    ),
    "somebody else's": lambda server, guide: sealed(server, guide.session_id, owner="somebody"),
    "another endpoint's": lambda server, guide: sealed(server, guide.session_id, endpoint="/brief"),
    "no position": lambda _, guide: guide.last_id.removesuffix(".0"),
    "the session id itself": lambda _, guide: guide.session_id,
    "not of ours at all": lambda _, __: "42",
}


@pytest.mark.parametrize("what", FORGED)
def test_a_last_event_id_that_is_not_genuine_opens_nothing(what: str, server: ServerProcess) -> None:
    async def scenario() -> None:
        async with guide_session(server) as guide:
            headers = {**EVENTS, "Last-Event-ID": FORGED[what](server, guide)}
            async with request("GET", guide.url, headers) as response:
                assert (response.status, await response.body()) == (200, GONE)

    run(scenario())


def test_the_same_seal_made_for_its_owner_opens_the_session(server: ServerProcess) -> None:
    """So what the test before it makes is refused for what it is made to be refused for."""

    async def scenario() -> None:
        async with guide_session(server) as guide:
            headers = {**EVENTS, "Last-Event-ID": sealed(server, guide.session_id)}
            async with request("GET", guide.url, headers) as response:
                event = await response.next_event()
                assert event.event == "session-resumed"
                assert event.json()["session_id"] == guide.session_id

    run(scenario())


def test_a_position_ahead_of_the_stream_shows_nothing_and_loses_nothing(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with guide_session(server) as guide:
            ahead = guide.last_id.removesuffix(".0") + ".7"
            async with request("GET", guide.url, {**EVENTS, "Last-Event-ID": ahead}) as response:
                assert (await response.next_event()).event == "session-resumed"
                assert (await response.next_event()).json()["error"] == "event_not_found"
                await guide.call("announce", {"event": "note", "text": "one"})
                assert (await response.next_event()).json() == {"text": "one"}

    run(scenario())


def test_the_secret_key_can_be_changed(start_server: StartServer) -> None:
    server = start_server(kind="uvicorn", **SERVED)
    old_key = server.env["SECRET_KEY"]

    async def first_event(last_id: str) -> str | None:
        headers = {**EVENTS, "Last-Event-ID": last_id}
        async with request("GET", server.url, headers) as response:
            return (await response.next_event()).event

    async def scenario() -> None:
        async with guide_session(server) as guide:
            last_id = guide.last_id
        server.env.update({"SECRET_KEY": "another key of these tests", "E2E_OLD_KEY": old_key})
        await server.restart_beside()
        assert await first_event(last_id) == "session-resumed"
        del server.env["E2E_OLD_KEY"]
        await server.restart_beside()
        assert await first_event(last_id) == "session-expired"

    run(scenario())


def test_a_session_of_the_specification_gets_no_sealed_ids(server: ServerProcess) -> None:
    """An event id of its client's opens nothing by itself, by whichever way the session was named."""

    async def scenario() -> None:
        session = await RawSession.open(server.url)
        for path, headers in (
            (f"?session_id={session.session_id}", {}),
            ("", {"X-Session-ID": str(session.session_id)}),
        ):
            given = {**EVENTS, **headers}
            async with request("GET", server.url + path, given) as response:
                if response.status == 200:
                    last_id = (await response.next_event()).id or "none"
                else:
                    continue
            alone = {**EVENTS, "Last-Event-ID": last_id}
            async with request("GET", server.url, alone) as response:
                event = await response.next_event() if response.status == 200 else None
                assert event is None or event.event == "session-expired", (last_id, event)

    run(scenario())


# -- calls ------------------------------------------------------------------------------------


def test_a_reply_by_sse_to_a_guide_client_can_be_resumed(server: ServerProcess) -> None:
    """Who accepts both forms may be answered by a stream: then its ids lead back to it."""

    async def scenario() -> None:
        async with guide_session(server) as guide:
            call = tool_call("export_report", {"steps": 3, "delay": 0.05}, token="report")
            async with guide.post(call, accept="application/json, text/event-stream") as response:
                first = await response.next_event()
                assert first.id
                response.cut()
            back = {
                "Accept": "text/event-stream",
                "X-Session-ID": guide.session_id,
                "Last-Event-ID": first.id,
            }
            async with request("GET", guide.url, back) as response:
                assert (await answer(response))["result"]["isError"] is False

    run(scenario())


def test_a_session_that_ends_ends_the_call_of_its_post(server: ServerProcess) -> None:
    async def scenario() -> None:
        async with running_call(server) as (guide, answered):
            async with request("DELETE", guide.url, {"X-Session-ID": guide.session_id}) as response:
                assert response.status == 204
            assert await answered == (
                200,
                b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"The session has ended (deleted)",'
                b'"data":{"reason":"session_ended"}}}',
            )

    run(scenario())


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_whose_client_waits_for_json_does_not_hold_up_a_deploy(
    kind: Kind, start_server: StartServer
) -> None:
    server = start_server(kind=kind, **SERVED)

    async def scenario() -> None:
        async with running_call(server) as (_, answered):
            assert await asyncio.to_thread(server.stop) < PROMPT_STOP_SECONDS
            status, body = await answered
            assert (status, json.loads(body)["error"]["data"]) == (200, {"reason": "worker_lost"})

    run(scenario())


@asynccontextmanager
async def running_call(server: ServerProcess) -> AsyncIterator[tuple[GuideStream, asyncio.Task[Any]]]:
    """A tool that would run for a quarter of an hour, called by a POST that accepts only JSON."""

    async def body(sending: Any) -> tuple[int, bytes]:
        async with sending as response:
            return response.status, await response.body()

    async with guide_session(server) as guide:
        call = tool_call("export_report", {"steps": 1000, "delay": 1}, token="report")
        answered = asyncio.create_task(body(guide.post(call)))
        try:
            # Its first report shows that it runs.
            assert (await guide.response.next_event()).json()["method"] == "notifications/progress"
            yield guide, answered
        finally:
            answered.cancel()
            await asyncio.gather(answered, return_exceptions=True)


# -- clients of 2024-11-05 ----------------------------------------------------------------------

OLD: Final = ("/mcp", "/sse")
"""The endpoint's own path, and the one that an older server had."""


@pytest.mark.parametrize("path", OLD)
def test_the_official_python_client_of_2024_11_05(server: ServerProcess, path: str) -> None:
    async def scenario() -> None:
        heard: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            heard.append(progress)

        async with Client(sse_client(server.at(path).url), mode="legacy") as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {"search_tickets", "export_report"} <= tools
            arguments = {"steps": 3, "delay": 0.01}
            report = await client.call_tool("export_report", arguments, progress_callback=on_progress)
            content = report.content[0]
            assert isinstance(content, TextContent) and content.text.startswith("status,priority,tickets\n")
            assert heard == [1, 2, 3]

    run(scenario())


@pytest.mark.parametrize("path", OLD)
def test_the_official_typescript_client_of_2024_11_05(
    server: ServerProcess, node: Callable[[], Node], path: str
) -> None:
    async def scenario() -> None:
        process = await asyncio.create_subprocess_exec(
            *node().command("sse.mjs", server.at(path).url), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        told = json.loads(printed)
        assert {"search_tickets", "export_report"} <= set(told["tools"])
        assert told["report"].startswith("status,priority,tickets\n")
        assert (told["progress"], told["count"]) == ([1, 2, 3], "counted to 3")

    run(scenario())


# -- ids are credentials --------------------------------------------------------------------------

WITH_IDS_EVERYWHERE: Final = (
    "establishing_a_session",
    "using_session_id_in_requests",
    "session_resumption",
    "last_event_id_alone",
    "endpoint_of_2024_11_05",
    "initialize_fills_the_session",
    "connection_limit",
    "specification_client",
    "sse_session_events",
    "expiry",
)
CREDENTIALS: Final = {"session_id", "place"}


@pytest.fixture(scope="module", params=KINDS)
def traces(request: pytest.FixtureRequest, start_server: StartServer) -> tuple[ServerProcess, frozenset[str]]:
    """A server that has served everything above and was stopped, and every id and place it gave out."""
    server = start_server(kind=request.param, **SERVED)
    credentials: set[str] = set()

    async def scenario() -> None:
        for name in WITH_IDS_EVERYWHERE:
            async with Player(server) as player:
                await player.play(name)
                credentials.update(
                    value
                    for key, value in player.seen.items()
                    if key.split("-")[0] in {"session_id", "place"}
                )

    run(scenario())
    server.stop()
    assert len(credentials) > 2 * len(WITH_IDS_EVERYWHERE)
    return server, frozenset(credentials)


def test_no_id_is_in_the_database(traces: tuple[ServerProcess, frozenset[str]]) -> None:
    server, credentials = traces
    file = Path(server.env["DATABASE_URL"].removeprefix("sqlite:///"))
    stored = b"".join(path.read_bytes() for path in sorted(file.parent.glob(f"{file.name}*")))
    # That the bytes can be searched at all: what a tool sent is there.
    assert b"order-shipped" in stored
    assert not [each for each in credentials if each.encode() in stored]


def test_no_id_is_in_the_log(traces: tuple[ServerProcess, frozenset[str]]) -> None:
    server, credentials = traces
    lines = server.log().splitlines()
    assert any("opened at /mcp" in line for line in lines) and any("GET /mcp" in line for line in lines)
    assert any("by x-session-id" in line for line in lines)
    assert not [line for line in lines if any(each in line for each in credentials)]
