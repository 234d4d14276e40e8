"""The inboxes of the sessions that something is open or running for here."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mcp_sessions import jsonrpc
from mcp_sessions.background import Coalesced
from mcp_sessions.delivery.notifications import Notifications
from mcp_sessions.delivery.protocols import InboxListener
from mcp_sessions.delivery.writer import Writer
from mcp_sessions.logs import about
from mcp_sessions.records import (
    INBOX_KEPT,
    ROTATED,
    EndReason,
    Inbound,
    Reading,
    SessionRecord,
    StreamRecord,
)
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

REMEMBERED: Final = 10_000
REMEMBERED_SECONDS: Final = 5.0
"""A notification of a session may come while a request for it is on its way to be one of ours."""
READ_SIZE: Final = 1024 * 1024
"""Characters of an inbox that are read at once."""

Message = dict[str, Any]


class Inboxes:
    """Reads, in order and once, the inboxes of the sessions that are held here.

    A session is held from the position that its record was read with, so that nothing falls
    between the reading and the holding.
    """

    listener: InboxListener

    def __init__(self, runtime: Runtime, notifications: Notifications, writer: Writer) -> None:
        self._loop = runtime.loop
        self._notifications = notifications
        self._writer = writer
        self._positions: dict[str, int] = {}
        self._holders: dict[str, int] = {}
        self._notified: dict[str, float] = {}
        self._unread: set[str] = set()
        self._reading = Coalesced(runtime, "inboxes", self._read)

    def __len__(self) -> int:
        return len(self._holders)

    async def post(self, key: str, message: Message, request: str = "", *, answers: bool = False) -> bool:
        """Store a message for every process that holds the session, this one too.

        With a request only while that is pending; whether the message was stored. Raises StoreUnavailable.
        """
        stored = await self._writer.put(Inbound(key, jsonrpc.encode(message), request, answers))
        return bool(await stored)

    def notify(self, key: str) -> None:
        """Have every process that holds the session read its inbox, this one too."""
        self._notifications.send([key])
        self.heard([key])

    async def catch_up(self, names: Iterable[str]) -> None:
        """Have read what is in these inboxes now."""
        self.look(names)
        await self._reading.run()

    def hold(self, session: SessionRecord) -> None:
        """Hear of the session from now on; release() it as often."""
        self._notifications.listen()
        key = session.key
        self._holders[key] = self._holders.get(key, 0) + 1
        if session.inbox < self._positions.setdefault(key, session.inbox):
            # A message was read between the reading of the record and now: it may be that of a rotation.
            self.listener.on_message(key, json.loads(ROTATED))
        notified_at = self._notified.get(key)
        if notified_at is not None and self._loop.time() - notified_at < REMEMBERED_SECONDS:
            self.look([key])

    def release(self, key: str) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key], self._positions[key]

    def heard(self, names: Iterable[str]) -> None:
        """Look at those that are held, and remember all of them for a moment."""
        now = self._loop.time()
        for name in names:
            self._notified.pop(name, None)
            self._notified[name] = now
        while self._notified and (len(self._notified) > REMEMBERED or self._is_past(now)):
            del self._notified[next(iter(self._notified))]
        self.look(names)

    def keys(self) -> list[str]:
        """Those of the sessions that are held."""
        return list(self._holders)

    def compare(self, names: Iterable[str], found: Mapping[str, StreamRecord]) -> None:
        """Read those of them that stand otherwise in the store than here: what was not heard of is found."""
        self.look(key for key in names if key in self._holders and self._differs(key, found.get(key)))

    def _differs(self, key: str, inbox: StreamRecord | None) -> bool:
        if inbox is None or inbox.ended_at is not None:
            return True
        return inbox.position > self._positions.get(key, inbox.position)

    def look(self, names: Iterable[str]) -> None:
        """Read what is new in these inboxes, if they are held."""
        self._unread.update(self._holders.keys() & set(names))
        if self._unread:
            self._reading.request()

    def _is_past(self, now: float) -> bool:
        return now - next(iter(self._notified.values())) >= REMEMBERED_SECONDS

    async def _read(self) -> None:
        keys, self._unread = self._unread, set()
        try:
            for key in await self._changed(keys & self._positions.keys()):
                await self._read_inbox(key)
        except BaseException:
            # What was read before has moved its position, so this reads nothing twice.
            self._unread |= keys
            raise

    async def _changed(self, keys: set[str]) -> Iterable[str]:
        """Those of the inboxes in which something is new, or that have ended; one alone is read at once."""
        if len(keys) <= 1:
            return keys
        found = await get_store().afind_streams(list(keys))
        return [key for key in keys if self._differs(key, found.get(key))]

    async def _read_inbox(self, key: str) -> None:
        """Read one on from where it was read, and hand on what is there; and that its session has ended."""
        if (after := self._positions.get(key)) is None:
            return
        reading = await get_store().aread(key, after, INBOX_KEPT, READ_SIZE)
        if reading is not None and reading.trimmed > after:
            logger.warning("session %s: messages were trimmed before they were read", key, extra=about(key))
        self._take(key, reading)
        if reading is not None and not reading.is_cut and len(reading.events) < INBOX_KEPT:
            # Past messages that nobody needs any more, and that were deleted, too.
            self._move(key, reading.position)
        if reading is not None and reading.is_cut:
            await self._read_inbox(key)
        elif reading is None or reading.end is not None:
            session = None if reading is None else await get_store().aload_by_key(key)
            # It was purged before anybody here knew that it had ended.
            self.listener.on_end(key, EndReason.EXPIRED if session is None else session.end_reason)

    def _move(self, key: str, position: int) -> None:
        if key in self._positions:
            self._positions[key] = max(self._positions[key], position)

    def _take(self, key: str, reading: Reading | None) -> None:
        for event in () if reading is None else reading.events:
            if event.position <= self._positions.get(key, event.position):
                continue
            self._positions[key] = event.position
            self._handle(key, event.data)

    def _handle(self, key: str, text: str) -> None:
        try:
            self.listener.on_message(key, json.loads(text))
        except Exception:
            # A newer version of the app may post what this one does not know.
            text = "session %s: a message of its inbox was not understood"
            logger.exception(text, key, extra=about(key))
