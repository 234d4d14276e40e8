"""docs/troubleshooting.md: what it shows is what happens, and what it advises helps."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import shlex
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone

from mcp_sessions.checks import check_settings
from mcp_sessions.lifecycle import end_session, inspect_session, open_session, purge
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import run_sync
from tests.doors.client import McpClient, initialize, request
from tests.doors.doors import Door, open_door
from tests.harness.pages import examples, page
from tests.process import close_store, in_thread, only_session
from tests.servers import DEADLINE
from tests.test_commands import CLIENT

pytestmark = pytest.mark.django_db(transaction=True)

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = page("troubleshooting.md")
SHOWN: Final = examples("troubleshooting.md")
MEMORY: Final = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}

Configure = Callable[..., Any]


@pytest.fixture
async def door(process: None) -> AsyncIterator[Door]:
    opened = open_door("mount")
    yield opened
    await opened.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "mcp_sessions")
    return caplog


@pytest.fixture
def configure(settings: Any) -> Configure:
    """Settings that the page shows, for the servers of the tests."""

    async def change(name: str = "", **more: Any) -> None:
        names: dict[str, Any] = {"BASE_DIR": ROOT}
        exec(SHOWN.get(name, ""), names)
        options = {key: value for key, value in names.get("MCP_SESSIONS", {}).items() if key != "SERVER"}
        chosen = {**settings.MCP_SESSIONS, **options, **more}
        # The store is closed with it, which waits.
        await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", chosen)
        settings.ALLOWED_HOSTS = names.get("ALLOWED_HOSTS", settings.ALLOWED_HOSTS)

    return change


def pattern(shown: str, key: str) -> re.Pattern[str]:
    """What the page shows: KEY is the session's, … is anything."""
    text = re.escape(shown.strip()).replace("KEY", key)
    # A line of its own stands for any number of lines.
    return re.compile(re.sub(r"\\?\n\s*(?:\\ )*…", r"\n.*", text).replace("…", ".*?"), re.DOTALL)


def assert_logged(name: str, log: pytest.LogCaptureFixture, key: str = "-") -> None:
    wanted = pattern(SHOWN[name], key)
    assert [line for line in log.messages if wanted.fullmatch(line)], log.messages


def run_shown(name: str, key: str = "") -> None:
    """Run the command that the page shows; it prints what the page says."""
    command, _, output = SHOWN[name].partition("\n")
    words = shlex.split(command.removeprefix("$ python manage.py ").replace("KEY", key))
    out = io.StringIO()
    call_command(*words, stdout=out)
    assert pattern(output, key).search(out.getvalue()), out.getvalue()


def opened() -> SessionRecord:
    return run_sync(open_session("/mcp", "", CLIENT))[1]


def test_every_example_is_looked_at_here() -> None:
    here = Path(__file__).read_text()
    assert [name for name in SHOWN if f'"{name}"' not in here] == []
    assert len(SHOWN) == PAGE.count("<!-- tested: ") == PAGE.count("```") // 2


def test_the_options_that_it_shows_can_be(settings: Any) -> None:
    for name in ("longer", "fewer", "debug", "origins"):
        names: dict[str, Any] = {}
        exec(SHOWN[name], names)
        settings.MCP_SESSIONS = {**names["MCP_SESSIONS"], "SERVER": "tests.servers:server"}
        assert [each for each in check_settings() if "W001" not in str(each.id)] == []


async def test_a_session_that_is_not_found(door: Door, configure: Configure, log: Any) -> None:
    await configure(SESSION_DEBUG=True)
    response = await McpClient(door, session_id="A" * 32).post(request("ping"))
    assert (response.status, await response.json()) == (404, json.loads(SHOWN["not_found"]))
    assert_logged("not_found_log", log)
    stream = await McpClient(door).get(**{"X-Session-ID": "A" * 32})
    events = await stream.events()
    assert [each.event for each in events] == ["session-expired", "error"]
    assert all("session_not_found" in str(each.data) for each in events)


def test_the_browser_example_is_the_guides() -> None:
    """Which runs in a browser: tests/e2e/test_guide_browser.py."""
    guide = (ROOT / "tests/e2e/guide/javascript/session_not_found.js").read_text()
    bare = [re.sub(r"\s*//.*", "", text).split() for text in (guide, SHOWN["browser"])]
    assert bare[0] == bare[1]


def test_what_became_of_a_session(process: None) -> None:
    session = run_sync(open_session("/mcp", "user:3", CLIENT))[1]
    run_shown("inspect_live", session.key)
    call_command("end_mcp_session", session.key, stdout=io.StringIO())
    run_shown("inspect_ended", session.key)


async def test_longer_timeouts_and_a_session_that_expires(door: Door, configure: Configure, log: Any) -> None:
    await configure("longer")
    await McpClient(door).open()
    session = await only_session()
    names: dict[str, Any] = {"key": session.key}
    assert (session.timeout_at - session.created_at).total_seconds() == 3600
    assert (session.expires_at - session.created_at).total_seconds() == 600
    await in_thread(lambda: exec(SHOWN["extend"], names))
    extended = await in_thread(lambda: inspect_session(session.key).session)
    assert 8 * 3600 - 60 < (extended.expires_at - timezone.now()).total_seconds() <= 8 * 3600

    def has_run_out() -> bool:
        type(session).objects.update(expires_at=timezone.now())
        purge()
        return not type(session).objects.filter(ended_at=None).exists()

    # A last-used time that is written between the two extends the session once more.
    while not await in_thread(has_run_out):
        pass
    assert_logged("expired_log", log, session.key)


def test_the_figures_show_clients_that_keep_nothing(process: None) -> None:
    for session in (opened(), opened(), opened())[:2]:
        end_session(session.key, EndReason.REPLACED)
    run_shown("stats")


async def test_fewer_sessions_for_each_client(door: Door, configure: Configure, log: Any) -> None:
    await configure("fewer")
    first = await McpClient(door).open()
    key = (await only_session()).key
    second = await McpClient(door).open()
    assert (await first.status(), await second.status()) == (404, 200)
    assert_logged("replaced_log", log, key)
    await configure("fewer", SESSION_REPLACEMENT_POLICY="reject")
    refused = await McpClient(door).post(initialize())
    assert (refused.status, (await refused.json())["error"]["data"]["reason"]) == (429, "session_limit")
    assert "retry-after" in refused.headers


def test_sessions_that_are_too_many_are_ended(process: None) -> None:
    session = opened()
    run_shown("end", session.key)
    assert inspect_session(session.key).session.end_reason == "too many"


def test_the_sessions_of_an_attacker_are_ended(process: None) -> None:
    session = opened()
    run_shown("end_address", session.key)
    assert inspect_session(session.key).session.end_reason == "attack"


async def test_debugging(door: Door, configure: Configure, caplog: pytest.LogCaptureFixture) -> None:
    await configure("debug")
    caplog.set_level(logging.DEBUG)
    await McpClient(door).open()
    assert {"shop.sessions", "mcp_sessions.requests"} <= {each.name for each in caplog.records}


async def test_sessions_in_memory_are_gone_with_their_process(
    door: Door, configure: Configure, log: Any
) -> None:
    await configure(SESSION_STORE=MEMORY, SESSION_ROWS=False)
    assert "mcp_sessions.W002" in [each.id for each in check_settings()]
    client = await McpClient(door).open()
    assert_logged("memory_log", log)
    assert await client.status() == 200
    await asyncio.to_thread(close_store)
    assert await client.status() == 404


async def test_hosts_and_origins(door: Door, configure: Configure) -> None:
    async def answered(host: str, origin: str | None) -> tuple[int, str]:
        response = await McpClient(door).post(initialize(), {"Host": host, "Origin": origin})
        return response.status, (await response.json()).get("error", {}).get("message", "")

    await configure("origins")
    status, message = await answered("another.example", None)
    assert status == 421 and f"421 `{message}`" in PAGE
    status, message = await answered("shop.example", "https://elsewhere.example")
    assert status == 403 and message.startswith("This origin may not call the endpoint.")
    assert (await answered("shop.example", "https://app.example"))[0] == 200
    assert (await answered("shop.example", "https://shop.example"))[0] == 200


async def test_a_database_that_is_locked(
    door: Door, log: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if connections["default"].vendor != "sqlite":
        pytest.skip("Only SQLite has one lock for all.")
    monkeypatch.setitem(connections.settings["default"]["OPTIONS"], "timeout", 0.01)

    async with locked():
        response = await McpClient(door).post(initialize())
    assert response.status == 503 and "retry-after" in response.headers
    assert_logged("locked_log", log)
    names: dict[str, Any] = {"BASE_DIR": ROOT}
    exec(SHOWN["sqlite"], names)
    shown, ours = names["DATABASES"]["default"]["OPTIONS"], settings.DATABASES["default"]["OPTIONS"]
    assert {**shown, "timeout": None} == {**ours, "timeout": None}


@asynccontextmanager
async def locked() -> AsyncIterator[None]:
    """Somebody else writes meanwhile."""
    begun, over, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def hold() -> None:
        with transaction.atomic():
            loop.call_soon_threadsafe(begun.set)
            assert over.wait(DEADLINE)

    holding = asyncio.ensure_future(in_thread(hold))
    await asyncio.wait_for(begun.wait(), DEADLINE)
    try:
        yield
    finally:
        over.set()
        await holding
