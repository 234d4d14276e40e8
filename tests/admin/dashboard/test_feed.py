"""Session events reach the dashboards that are open, and nothing is left when these are closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import AsyncClient
from django.urls import reverse
from django.utils import timezone
from django_eventstream.views import get_listener_manager

from mcp_sessions import runtime
from mcp_sessions.admin import feed
from mcp_sessions.admin.feed import Feed, channel
from mcp_sessions.analytics.changes import SessionChanges
from mcp_sessions.lifecycle import aend_session
from mcp_sessions.models import Session
from mcp_sessions.stores import get_store
from tests.admin.people import a_viewer
from tests.process import eventually, in_thread
from tests.records import new_session as new_record
from tests.servers import DEADLINE
from tests.sessions import Open

EVENTS = reverse("admin:mcp_sessions_session_dashboard_events")
MEMORY = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "LOOK_SECONDS", 0.05)


@pytest.fixture
async def watching(async_client: AsyncClient, permissions: None) -> AsyncClient:
    await async_client.aforce_login(await in_thread(a_viewer))
    return async_client


class Heard:
    """What one page is sent. It is read at once, as a server does."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self.reading = asyncio.create_task(self._read(chunks))

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        text = ""
        async for chunk in chunks:
            *whole, text = (text + chunk.decode()).split("\n\n")
            for said in whole:
                self._said.put_nowait(said)

    async def event(self, kind: str) -> Any:
        """The data of the next event of this kind."""
        async with asyncio.timeout(DEADLINE):
            while f"event: {kind}\n" not in (said := await self._said.get()):
                pass
        data = "".join(line[6:] for line in said.split("\n") if line.startswith("data: "))
        return json.loads(data) if data else None

    async def end(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait({self.reading})


@asynccontextmanager
async def stream(client: AsyncClient, until: str = "listening") -> AsyncIterator[Heard]:
    """An open page; in the end it leaves, and Django's handler is cancelled."""
    response: Any = await client.get(EVENTS)
    assert response.status_code == 200
    assert response["Content-Type"] == "text/event-stream"
    heard = Heard(aiter(response.streaming_content))
    try:
        await heard.event(until)
        yield heard
    finally:
        heard.reading.cancel()
        await asyncio.wait({heard.reading})


def the_feed() -> Feed:
    return runtime.current().service(Feed)


async def test_an_open_page_hears_of_a_session(watching: AsyncClient, new_session: Open) -> None:
    async with stream(watching) as page:
        session = await new_session()
        told = await page.event("sessions")
        (opened,) = told["events"]
        row = await in_thread(Session.objects.get)
        assert (opened["kind"], opened["key"], opened["pk"]) == ("opened", session.key, row.pk)
        await aend_session(session.key)
        (ended,) = (await page.event("sessions"))["events"]
        assert (ended["kind"], ended["key"], ended["reason"]) == ("ended", session.key, "operator")
        assert row.digest not in str(opened) + str(ended)


async def test_every_page_hears_of_it(watching: AsyncClient, new_session: Open) -> None:
    async with stream(watching) as one, stream(watching) as other:
        session = await new_session()
        for page in (one, other):
            assert (await page.event("sessions"))["events"][0]["key"] == session.key


async def test_nothing_runs_while_nobody_watches(
    watching: AsyncClient, new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    take = SessionChanges.take
    monkeypatch.setattr(SessionChanges, "take", lambda *args: looks.append(1) or take(*args))
    async with stream(watching) as page:
        await new_session()
        await page.event("sessions")
        watched = the_feed()
        assert watched.watchers == 1
        assert len(get_listener_manager().listeners_by_channel[channel()]) == 1
    await eventually(lambda: watched._looking.is_idle)
    assert watched.watchers == 0
    assert channel() not in get_listener_manager().listeners_by_channel
    before = len(looks)
    # And somebody comes again.
    async with stream(watching) as page:
        # The first one may be no news any more.
        await new_session()
        await page.event("sessions")
        assert len(looks) > before


async def test_a_page_too_many_does_without(watching: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "MAX_STREAMS", 1)
    async with stream(watching):
        assert (await watching.get(EVENTS)).status_code == 503
    async with stream(watching):
        pass


async def test_a_stream_ends_after_a_while(watching: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that whoever may not look any more does not come back."""
    monkeypatch.setattr(feed, "STREAM_SECONDS", 0)
    async with stream(watching, until="stream-open") as page:
        await page.end()
    await in_thread(lambda: User.objects.get().user_permissions.clear())
    assert (await watching.get(EVENTS)).status_code == 403


async def test_streams_end_when_the_process_drains(watching: AsyncClient, new_session: Open) -> None:
    """uvicorn says that it stops only when they have."""
    async with stream(watching) as page:
        used = runtime.current()
        used.loop.call_soon_threadsafe(used.begin_drain)
        await page.event("restart")
        await page.end()
        assert (await watching.get(EVENTS)).status_code == 503


async def test_news_wait_for_a_database_that_is_away(
    watching: AsyncClient,
    new_session: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    take, failures = SessionChanges.take, [OperationalError("away")] * 3

    def failing(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return take(*args)

    monkeypatch.setattr(SessionChanges, "take", failing)
    async with stream(watching) as page:
        session = await new_session()
        assert (await page.event("sessions"))["events"][0]["key"] == session.key
    assert caplog.text.count("background work 'dashboard feed' fails") == 1


async def test_rows_beside_another_store_are_corrected_first(
    watching: AsyncClient, process: None, settings: Any
) -> None:
    """They do not say that their session was used since, nor that it has run out."""
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": MEMORY}
    runtime.adopt()
    soon = timezone.now() + timedelta(seconds=0.3)
    used, over = (new_record(expires_at=at) for at in (soon + timedelta(hours=1), soon))

    def put() -> None:
        for session in (used, over):
            get_store().create(session)
            row = {name: getattr(session, name) for name in ("key", "digest", "server", "created_at")}
            Session.objects.create(**row, last_accessed_at=soon, expires_at=soon, timeout_at=soon)

    async with stream(watching) as page:
        await in_thread(put)
        told: list[tuple[str, str]] = []
        while ("ended", over.key) not in told:
            told += [(each["kind"], each["key"]) for each in (await page.event("sessions"))["events"]]
    assert ("ended", used.key) not in told
    row = await in_thread(lambda: Session.objects.get(key=used.key))
    assert row.expires_at > soon


def test_the_channel_has_a_name_that_only_this_project_knows(settings: Any) -> None:
    before = channel()
    assert channel() == before
    settings.SECRET_KEY = "another"
    assert channel() != before
