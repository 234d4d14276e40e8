"""Changes of sessions for the dashboards that are open in this process, sent by django-eventstream.

While a dashboard is open here, the process reads new changes from the rows once a second, whichever
process wrote them. So it needs neither Redis nor a channel layer, and if the database is unavailable, the
next look finds what one look missed. Nothing runs while no dashboard is open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import Context
from dataclasses import asdict
from typing import Any, Final, Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django_eventstream.event import Event
from django_eventstream.eventrequest import EventRequest
from django_eventstream.views import Listener, get_listener_manager, stream

from mcp_sessions.analytics.changes import MAX_CHANGES, SessionChanges
from mcp_sessions.analytics.errors import with_store_errors
from mcp_sessions.background import Periodic
from mcp_sessions.lifecycle.summary_rows import correct_some
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.stores import get_row_keeper, get_store

MAX_STREAMS: Final = 20
"""Open dashboards that one process serves at once: each stream keeps a thread of Django's."""
STREAM_SECONDS: Final = 300.0
"""After so long a stream ends. Its page reconnects at once, and is authenticated and authorized again."""
LOOK_SECONDS: Final = 1.0
CORRECTED: Final = 50
"""Rows beside another store that one look brings up to date."""
RETRY_MILLISECONDS: Final = 1000


def channel() -> str:
    """The channel's name, which nobody can guess: in a project that has django-eventstream's own URLs,
    whoever knows a name can listen to it.
    """
    digest = salted_hmac("mcp_sessions.admin.feed", "sessions", algorithm="sha256").hexdigest()
    return f"mcp_sessions-{digest}"


class Feed:
    """Reads new changes while a dashboard is open here, and sends them to it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._looking = Periodic(
            runtime,
            "dashboard feed",
            self._look,
            lambda: LOOK_SECONDS,
            while_needed=lambda: self.watchers and not self.is_over,
        )
        self._changes: SessionChanges | None = None
        self.watchers = 0
        self.is_over = False
        runtime.at_drain(self._stop)

    @contextmanager
    def watched(self) -> Iterator[None]:
        self.watchers += 1
        try:
            yield
        finally:
            self.watchers -= 1

    def look(self) -> None:
        """Look from now on, as long as somebody watches. On whichever loop Django runs."""
        # In no request's context: what it lends (asgiref's thread) would end with it.
        self._runtime.loop.call_soon_threadsafe(self._start, context=Context())

    def _start(self) -> None:
        if self._looking.is_idle:
            self._changes = None
        self._looking.start(within=0.0)

    async def _look(self) -> None:
        if (rows := get_row_keeper()) is None:
            return
        await correct_some(CORRECTED)
        now = timezone.now()
        if self._changes is None:
            knows_ends = get_store().keeps_rows
            begun: SessionChanges = await rows.arun(
                with_store_errors, rows.alias, SessionChanges, rows.alias, now, knows_ends
            )
            self._changes = begun
        seconds = self._runtime.loop.time()
        found = await rows.arun(with_store_errors, rows.alias, self._changes.take, now, seconds)
        if found:
            _hand_on("sessions", {"now": now, "events": [asdict(each) for each in found[-MAX_CHANGES:]]})

    def _stop(self) -> None:
        self.is_over = True
        _hand_on("restart", {})


def _hand_on(kind: str, said: Any) -> None:
    """To the listeners of this process only, even where EVENTSTREAM_REDIS is set."""
    event = Event(channel(), kind, json.dumps(said, cls=DjangoJSONEncoder))
    get_listener_manager().add_to_queues(channel(), event)


class Attention(asyncio.Event):
    """What a listener waits for; it says when that is for the first time.

    What comes to a listener before, django-eventstream may throw away: it would read it from its storage.
    """

    def __init__(self, begin: Callable[[], None]) -> None:
        super().__init__()
        self._begin: Callable[[], None] | None = begin

    async def wait(self) -> Literal[True]:
        if self._begin is not None:
            begin, self._begin = self._begin, None
            begin()
        return await super().wait()


def _confirm_listening(listener: Listener) -> None:
    """From now on the page misses nothing. It asks for what it has missed."""
    with get_listener_manager().lock:
        listener.channel_items.setdefault(channel(), []).append(Event(channel(), "listening", "{}"))
    listener.aevent.set()


async def watch(feed: Feed, user: Any) -> AsyncIterator[str]:
    """A stream of server-sent events for one page of this user, who may see sessions."""
    listener = Listener()
    listener.user_id, listener.channels = user.pk, {channel()}

    def begin() -> None:
        feed.look()
        _confirm_listening(listener)

    listener.aevent = Attention(begin)
    # Not django-eventstream's view: a project's channel manager would choose the channels of a request.
    asked = EventRequest()
    asked.user, asked.channels, asked.is_next = user, listener.channels, False
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + STREAM_SECONDS
    with feed.watched():
        yield f"retry: {RETRY_MILLISECONDS}\n\n"
        async with aclosing(stream(asked, listener)) as events:
            # It says something every 20 seconds, if only that it is alive.
            async for event in events:
                yield event
                if feed.is_over or loop.time() >= ends_at:
                    return


async def get_feed() -> Feed:
    """This process's feed; on the runtime's loop."""
    return current().service(Feed)
