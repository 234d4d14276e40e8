"""The guide's own JavaScript, unchanged but for the URL, in a real browser."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request

from tests.e2e.conftest import StartServer
from tests.harness.browsing import Play
from tests.harness.running import BROWSER_DEADLINE, eventually
from tests.harness.server import KINDS, ServerProcess
from tests.harness.wire import request as send

# The page's own EventSources cannot be reached from outside: remember them.
REMEMBER_SOURCES: Final = """
    window.sources = [];
    window.EventSource = class extends EventSource {
        constructor(...given) { super(...given); window.sources.push(this); }
    };
"""
OPEN: Final = 1
CLOSED: Final = 2
DEAD_ID: Final = "A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6"
# The browser waits a second before it comes back, and longer each time nobody answers.
COMES_BACK_SECONDS: Final = 60.0


# What the page is sent is the same behind each server (test_guide_dialect.py), byte by byte.
@pytest.fixture(scope="module", params=["uvicorn"])
def server(browser: Browser, request: pytest.FixtureRequest, start_server: StartServer) -> ServerProcess:
    return start_server(
        kind=request.param, server="tests.e2e.servers.guide:server", settings="tests.e2e.guide.settings"
    )


@dataclass
class GuidePage:
    """A page that runs the guide's JavaScript, and what it said and did."""

    page: Page
    server: ServerProcess
    said: list[str] = field(default_factory=list)
    sent: list[Request] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    objects: dict[str, ConsoleMessage] = field(default_factory=dict)

    def listen(self) -> None:
        self.page.on("console", self._hear)
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        self.said.append(message.text)
        self.objects[message.text.split(":")[0]] = message

    def _note(self, request: Request) -> None:
        if "/mcp" in request.url:
            self.sent.append(request)

    def has_said(self, beginning: str) -> bool:
        return self.times_said(beginning) > 0

    def times_said(self, beginning: str) -> int:
        return sum(text.startswith(beginning) for text in self.said)

    async def hears(self, beginning: str, deadline: float = COMES_BACK_SECONDS) -> str:
        """What the page said with this beginning, once it has."""
        await eventually(lambda: self.has_said(beginning), deadline)
        return next(text for text in self.said if text.startswith(beginning)).removeprefix(beginning).strip()

    async def session_id(self) -> str:
        return await self.hears("Session established:")

    async def list_tools(self) -> list[str]:
        """Run the guide's snippet that lists the tools, and read what it logged."""
        self.objects.pop("Available tools", None)
        await self.page.add_script_tag(url="/guide/using_session_id_in_requests.js", type="module")
        await eventually(lambda: "Available tools" in self.objects)
        answer = await self.objects["Available tools"].args[1].json_value()
        return [tool["name"] for tool in answer["result"]["tools"]]

    async def opens(self, index: int) -> None:
        """Wait until the page's EventSource of this number is connected."""
        await self._gets(index, OPEN)

    async def closes(self, index: int) -> None:
        """Wait until the page's EventSource of this number has given up for good."""
        await self._gets(index, CLOSED)

    async def _gets(self, index: int, state: int) -> None:
        reached = f"sources.length > {index} && sources[{index}].readyState === {state}"
        await self.page.wait_for_function(reached, timeout=COMES_BACK_SECONDS * 1000)

    async def called(self) -> list[str]:
        return list(await self.page.evaluate("called"))

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """Call a tool in the page's session, not from the page; the text of its result."""
        params = {"name": name, "arguments": arguments}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "X-Session-ID": await self.session_id(),
        }
        async with send("POST", self.server.url, headers, json.dumps(body).encode()) as response:
            return str((await response.json())["result"]["content"][0]["text"])


@asynccontextmanager
async def open_page(browser: Browser, server: ServerProcess) -> AsyncIterator[GuidePage]:
    context = await browser.new_context()
    context.set_default_timeout(BROWSER_DEADLINE)
    try:
        page = await context.new_page()
        await page.add_init_script(REMEMBER_SOURCES)
        opened = GuidePage(page, server)
        opened.listen()
        await page.goto(f"{server.origin}/guide/")
        yield opened
        assert not opened.errors
    finally:
        await context.close()


def test_a_session_is_established_and_tools_are_listed(
    browser: Browser, server: ServerProcess, play: Play
) -> None:
    async def scenario() -> None:
        async with open_page(browser, server) as page:
            session_id = await page.session_id()
            assert await page.hears("MCP endpoint:") == f"/mcp?sse_session={session_id}"
            # The snippet with all session events hears the same.
            assert await page.hears("Session ID:") == session_id
            assert (await page.hears("Expires at:")).endswith("+00:00")
            assert {"search_tickets", "open_ticket"} <= set(await page.list_tools())
            (get,) = [request for request in page.sent if request.method == "GET"]
            assert get.url == page.server.url

    play(scenario())


@pytest.mark.parametrize("server", KINDS, indirect=True)
def test_a_browser_comes_back_by_itself_after_a_restart(
    browser: Browser, server: ServerProcess, play: Play
) -> None:
    async def scenario() -> None:
        async with open_page(browser, server) as page:
            session_id = await page.session_id()
            await page.page.evaluate(
                "eventSource.addEventListener('note', event => console.log('note:', event.data))"
            )
            await page.call("announce", {"event": "note", "text": "before"})
            await page.hears('note: {"text":"before"}')
            await server.restart_beside()
            # Perhaps before the browser is back, perhaps not: it comes once.
            await page.call("announce", {"event": "note", "text": "meanwhile"})
            assert await page.hears("Resumed session:") == session_id
            await page.call("announce", {"event": "note", "text": "after"})
            await page.hears('note: {"text":"after"}')
            notes = [text for text in page.said if text.startswith("note:")]
            assert notes == [f'note: {{"text":"{text}"}}' for text in ("before", "meanwhile", "after")]
            assert "search_tickets" in await page.list_tools()
            assert await page.called() == []

    play(scenario())


RENAME: Final = "ALTER TABLE {} RENAME TO {}"


def test_a_browser_that_is_refused_for_now_comes_back(
    browser: Browser, start_server: StartServer, play: Play
) -> None:
    """The store cannot be read when the page opens: with a 503 its EventSource would be closed for good."""
    server = start_server(server="tests.e2e.servers.guide:server", settings="tests.e2e.guide.settings")
    path = server.env["DATABASE_URL"].removeprefix("sqlite:///")

    def rename(*names: str) -> None:
        with closing(sqlite3.connect(path, timeout=60)) as database:
            database.execute(RENAME.format(*names))

    async def scenario() -> None:
        await asyncio.to_thread(rename, "mcp_sessions_session", "away")
        async with open_page(browser, server) as page:
            await page.page.evaluate(
                "sources[0].addEventListener('error', ({data}) => data && console.log('refused:', data))"
            )
            assert "not set up" in json.loads(await page.hears("refused:"))["message"]
            await asyncio.to_thread(rename, "away", "mcp_sessions_session")
            assert await page.session_id()
            assert "search_tickets" in await page.list_tools()
            assert await page.called() == []

    play(scenario())


def test_a_session_that_was_kept_is_resumed(browser: Browser, server: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        async with open_page(browser, server) as page:
            session_id = await page.session_id()
            await page.page.reload()
            # The page opens a session of its own again, which would replace the resumed one if it came later.
            await eventually(lambda: page.times_said("Session established:") == 2)
            await page.page.evaluate(f"resumeSession('{session_id}')")
            assert await page.hears("Session resumed:") == session_id
            # The page's variable has it, and its requests say it: the worklist is the session's.
            assert await page.page.evaluate("sessionId") == session_id
            assert "search_tickets" in await page.list_tools()
            headers = await page.sent[-1].all_headers()
            assert headers["x-session-id"] == session_id

    play(scenario())


def test_a_page_goes_on_by_the_new_id_when_its_session_is_rotated(
    browser: Browser, server: ServerProcess, play: Play
) -> None:
    """The guide's pages know no `session-rotated`: they hear what they listen to."""

    async def scenario() -> None:
        async with open_page(browser, server) as page:
            old = await page.session_id()
            key = await page.call("session_key", {})
            await asyncio.to_thread(server.manage, "rotate_mcp_session", key)
            await eventually(lambda: page.times_said("Session established:") == 2)
            new = await page.page.evaluate("sessionId")
            assert new != old
            await asyncio.to_thread(server.manage, "shell", "-c", END_THE_GRACE)
            assert "search_tickets" in await page.list_tools()
            assert (await page.sent[-1].all_headers())["x-session-id"] == new
            # The URL of its EventSource never had an id; the last event id has the new one.
            await server.restart_beside()
            assert await page.hears("Resumed session:") == new
            assert await page.called() == []

    play(scenario())


END_THE_GRACE: Final = """
from django.utils import timezone
from mcp_sessions.models import Session
Session.objects.filter(previous_until__isnull=False).update(previous_until=timezone.now())
"""


def test_an_id_that_is_dead_ends_without_a_loop(browser: Browser, server: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        async with open_page(browser, server) as page:
            await page.session_id()
            await page.page.evaluate(f"resumeSession('{DEAD_ID}')")
            await page.hears("Session expired, creating new session")
            # The page's first is 0, the resumed 1, and 2 the one that replaces it.
            await page.closes(1)
            assert await page.called() == ["establishNewSession"]
            assert await statuses(page, f"?session_id={DEAD_ID}") == [200, 204]
            # The page's own and the new one, which may be answered later than the resumed one was refused;
            # and nobody came back.
            await page.opens(2)
            assert await states(page) == [OPEN, CLOSED, OPEN]

    play(scenario())


def test_a_session_that_ends_while_the_page_listens(
    browser: Browser, server: ServerProcess, play: Play
) -> None:
    async def scenario() -> None:
        async with open_page(browser, server) as page:
            headers = {"X-Session-ID": await page.session_id()}
            async with send("DELETE", server.url, headers) as response:
                assert response.status == 204
            await page.closes(0)
            assert page.said[-1] == "Session expired" and page.said.count("Session expired") == 1
            assert await page.called() == ["reconnect"]
            assert await statuses(page, "/mcp") == [200, 204]

    play(scenario())


def test_a_session_that_has_ended_while_the_page_was_away(
    browser: Browser, server: ServerProcess, play: Play
) -> None:
    """Then the page hears the error that the guide's chapter on troubleshooting looks for."""

    async def scenario() -> None:
        async with open_page(browser, server) as page:
            await page.session_id()
            key = await page.call("session_key", {})
            await asyncio.to_thread(server.stop)
            ending = f"from mcp_sessions.lifecycle import end_sync; end_sync('{key}', 'operator')"
            await asyncio.to_thread(server.manage, "shell", "-c", ending)
            await server.start_beside()
            await page.closes(0)
            assert await page.called() == ["reconnect", "reconnectWithNewSession"]
            assert page.said.count("Session expired") == 1
            assert (await statuses(page, "/mcp"))[-2:] == [200, 204]

    play(scenario())


async def statuses(page: GuidePage, url_end: str) -> list[int]:
    """The statuses of the GETs with this URL that were answered, in order."""
    responses = [
        await request.response()
        for request in page.sent
        if request.method == "GET" and request.url.endswith(url_end) and request.failure is None
    ]
    return [response.status for response in responses if response is not None]


async def states(page: GuidePage) -> list[int]:
    return list(await page.page.evaluate("sources.map(source => source.readyState)"))
