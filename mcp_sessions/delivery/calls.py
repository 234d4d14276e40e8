"""The calls that run in this process, and the streams that are theirs to write."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final, Protocol

from django.utils import timezone

from mcp_sessions import jsonrpc
from mcp_sessions.delivery.activity import Activity
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.exceptions import SessionEnded, StoreUnavailable
from mcp_sessions.logs import about
from mcp_sessions.records import CALL, EndReason, SessionRecord
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

LOST: Final = "worker_lost"
"""The reason in the error of a call whose process ended before it did."""
EARLY: Final = 100
"""Cancellations that a process keeps for calls that may be too young to be known elsewhere."""
KNOWN_SECONDS: Final = 1.0
"""After so long the other processes can know of a call that runs; a stream says so, or `publish`."""
LOOKS: Final = 3
"""How often it looks for each, as long apart: a slow store makes calls known late."""
PUBLISHED: Final = timedelta(days=1)
"""How long it is remembered of a call without a stream that it runs, if nobody says that it is over."""


class RunningCall(Protocol):
    """A call of a client that has not been answered yet."""

    @property
    def counts(self) -> bool:
        """Whether it is a request, of which a session has at most MAX_CALLS_PER_SESSION at once."""

    def cancel(self, message: str, reason: str) -> None:
        """Stop it. Its client gets an error with this message, and the reason in the error's data."""

    def give_up(self) -> None:
        """Answer a cancelled call that does not stop, as if it had stopped."""


class Calls:
    """By session and request id, which several may have.

    `streams` are those that a channel here still writes to.
    """

    def __init__(self, runtime: Runtime, inboxes: Inboxes, activity: Activity) -> None:
        self._runtime = runtime
        self._inboxes = inboxes
        self._early = 0
        self._published: dict[tuple[str, jsonrpc.RequestId], asyncio.Task[None]] = {}
        """With the task that stores each."""
        self._activity = activity
        self._calls: dict[str, dict[jsonrpc.RequestId, dict[RunningCall, str]]] = {}
        """With the owner for whom each was begun."""
        self._stateless: set[RunningCall] = set()
        self._due: Counter[str] = Counter()
        self._stopped: str | None = None
        self.streams: set[str] = set()

    def __len__(self) -> int:
        return len(self._calls) + len(self._stateless)

    def __iter__(self) -> Iterator[RunningCall]:
        return iter([*self._of_all_sessions(), *self._stateless])

    def register(self, session: SessionRecord, request_id: jsonrpc.RequestId, call: RunningCall) -> None:
        self._calls.setdefault(session.key, {}).setdefault(request_id, {})[call] = session.owner
        self._inboxes.hold(session)
        self._activity.begin()
        self._stop_late(call)

    def unregister(self, session: SessionRecord, request_id: jsonrpc.RequestId, call: RunningCall) -> None:
        calls = self._calls[session.key]
        del calls[request_id][call]
        if not calls[request_id]:
            del calls[request_id]
            self._withdraw(session, request_id)
        if not calls:
            del self._calls[session.key]
        self._inboxes.release(session.key)
        self._activity.end()

    def register_stateless(self, call: RunningCall) -> None:
        """A call of a revision without sessions: only the end of the process cancels it from here."""
        self._stateless.add(call)
        self._activity.begin()
        self._stop_late(call)

    def unregister_stateless(self, call: RunningCall) -> None:
        self._stateless.remove(call)
        self._activity.end()

    def _stop_late(self, call: RunningCall) -> None:
        """A request that was accepted before the process stopped may have waited for the store until now."""
        if self._stopped is not None:
            call.cancel(self._stopped, LOST)

    @contextmanager
    def due(self, session_key: str, number: int) -> Iterator[None]:
        """Count so many requests that are let in and that no call here stands for, or none yet."""
        self._due[session_key] += number
        try:
            yield
        finally:
            self._due[session_key] -= number
            if not self._due[session_key]:
                del self._due[session_key]

    def count(self, session_key: str) -> int:
        """How many of the session's requests are served here, or are to be."""
        running = sum(call.counts for call in self._of_session(session_key))
        return running + self._due.get(session_key, 0)

    def is_running(self, session_key: str) -> bool:
        return session_key in self._calls

    def publish(self, session: SessionRecord, request_ids: Iterable[jsonrpc.RequestId]) -> None:
        """Calls without a stream run long: have the other processes know that they can be cancelled."""
        running = self._calls.get(session.key, {}).keys() & set(request_ids)
        until = timezone.now() + PUBLISHED
        for request_id in running:
            if get_store().shared_by_processes and (session.key, request_id) not in self._published:
                add = partial(get_store().aadd_request, session.key, _name_of(request_id), until, None)
                self._published[session.key, request_id] = self._runtime.spawn(self._store(add), "call")

    async def cancel(self, session: SessionRecord, request_id: Any, reason: str) -> None:
        """Cancel the running calls with this id, here or elsewhere; that there is none is nobody's error.

        What runs elsewhere is in the store once it has sent something or runs long. A call that is younger
        is looked for once more. Source: the specification, "Cancellation".
        """
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            return
        is_found = self.cancel_here(session.key, request_id, reason)
        if not is_found and get_store().shared_by_processes:
            is_found = await self._cancel_elsewhere(session.key, request_id, reason)
            if not is_found and self._early < EARLY:
                self._runtime.spawn(self._cancel_later(session, request_id, reason), "cancel")

    async def _cancel_elsewhere(self, session_key: str, request_id: jsonrpc.RequestId, reason: str) -> bool:
        """False, and nothing is stored, if no call with this id is known to run."""
        message = {"cancel": {"request_id": request_id, "reason": reason}}
        if await self._inboxes.post(session_key, message, _name_of(request_id)):
            return True
        streams = (await get_store().afind_streams(sessions=[session_key], only_open=True)).values()
        ids = {(type(each), each) for stream in streams if stream.writer for each in stream.request_ids}
        if (type(request_id), request_id) not in ids:
            return False
        return await self._inboxes.post(session_key, message)

    async def _cancel_later(self, session: SessionRecord, request_id: jsonrpc.RequestId, reason: str) -> None:
        self._early += 1
        try:
            # No background work: it belongs to one request, and ends after LOOKS attempts.
            for _ in range(LOOKS):
                await asyncio.sleep(KNOWN_SECONDS)
                if await self._cancel_elsewhere(session.key, request_id, reason):
                    return
        except StoreUnavailable as error:
            text, key = "session %s: a cancellation is dropped: %s", session.key
            logger.warning(text, key, error, extra=about(key))
        finally:
            self._early -= 1

    def _withdraw(self, session: SessionRecord, request_id: jsonrpc.RequestId) -> None:
        if (added := self._published.pop((session.key, request_id), None)) is not None:
            drop = partial(get_store().adrop_request, session.key, _name_of(request_id))
            self._runtime.spawn(self._store(drop, after=added), "call")

    async def _store(
        self, attempt: Callable[[], Awaitable[object]], after: asyncio.Task[None] | None = None
    ) -> None:
        # The store may take what comes later first: then the call would stay published for a day.
        if after is not None:
            await asyncio.wait([after])
        try:
            await attempt()
        except (StoreUnavailable, SessionEnded) as error:
            logger.info("which calls run here is not stored: %s", error)

    def cancel_here(self, session_key: str, request_id: jsonrpc.RequestId, reason: str) -> bool:
        # 1 and "1" are two keys, as they should be.
        calls = list(self._calls.get(session_key, {}).get(request_id, ()))
        for call in calls:
            call.cancel(f"Request cancelled{f': {reason}' if reason else ''}", "cancelled")
        return bool(calls)

    def end_session(self, session_key: str, reason: str) -> None:
        for call in self._of_session(session_key):
            call.cancel(f"The session has ended ({reason})", "session_ended")

    def lose(self, message: str) -> None:
        """Cancel the calls of sessions: other workers have ended them, or will."""
        for call in self._of_all_sessions():
            call.cancel(message, LOST)

    def rotate(self, session: SessionRecord) -> None:
        """Cancel the session's calls that were begun for another owner than it has now."""
        message = (
            "The session was given to another owner before the call was finished: its outcome is unknown"
        )
        for calls in list(self._calls.get(session.key, {}).values()):
            for call, owner in list(calls.items()):
                if owner != session.owner:
                    call.cancel(message, EndReason.ROTATED)

    def stop(self, message: str) -> int:
        """Cancel whatever runs here, and from now on whatever begins. Returns how many requests run."""
        self._stopped = message
        running = list(self)
        for call in running:
            call.cancel(message, LOST)
        return sum(call.counts for call in running)

    def give_up(self) -> None:
        """Answer those that were cancelled and do not stop."""
        for call in self:
            call.give_up()

    def _of_all_sessions(self) -> list[RunningCall]:
        return [call for session_key in self._calls for call in self._of_session(session_key)]

    def _of_session(self, session_key: str) -> list[RunningCall]:
        return [call for calls in self._calls.get(session_key, {}).values() for call in calls]


def _name_of(request_id: jsonrpc.RequestId) -> str:
    """What a call is known by to who would cancel it; 1 and "1" are two."""
    return f"{CALL}{hashlib.sha256(jsonrpc.encode(request_id).encode()).hexdigest()[:24]}"
