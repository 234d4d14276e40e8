"""The inboxes of the sessions that something is open or running for here."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from mcp_sessions import jsonrpc
from mcp_sessions.delivery.patience import AWAY_SECONDS
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.logs import about
from mcp_sessions.records import INBOX_KEPT, EndReason, Inbound, Placed, Reading, SessionRecord, StreamRecord
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

REMEMBERED: Final = 10_000
REMEMBERED_SECONDS: Final = 5.0
"""A session may be rung for while a request for it is on its way to be one of ours."""
READ_SIZE: Final = 1024 * 1024
"""Characters of an inbox that are read at once."""

Message = dict[str, Any]


class Inboxes:
    """Reads, in order and once, the inboxes of the sessions that are held here.

    A session is held from the position that its record was read with, so that nothing falls
    between the reading and the holding.
    """

    def __init__(
        self,
        runtime: Runtime,
        listen: Callable[[], None],
        ring: Callable[[Iterable[str]], None],
        put: Callable[[Inbound], Awaitable[asyncio.Future[Placed]]],
        on_message: Callable[[str, Message], None],
        on_end: Callable[[str, str], None],
    ) -> None:
        self._runtime = runtime
        self._listen = listen
        self._ring = ring
        self._put = put
        self._on_message = on_message
        self._on_end = on_end
        self._positions: dict[str, int] = {}
        self._holders: dict[str, int] = {}
        self._rung: dict[str, float] = {}
        self._unread: set[str] = set()
        self._reading: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._holders)

    async def post(self, key: str, message: Message, request: str = "", *, answers: bool = False) -> bool:
        """Store a message for every process that holds the session, this one too.

        With a request only while that is pending; whether the message was stored. Raises StoreUnavailable.
        """
        stored = await self._put(Inbound(key, jsonrpc.encode(message), request, answers))
        return bool(await stored)

    def ring(self, key: str) -> None:
        """Something is new in this inbox."""
        self._ring([key])
        self.heard([key])

    async def catch_up(self, names: Iterable[str]) -> None:
        """Have read what is in these inboxes now."""
        self.look(names)
        while self._reading is not None:
            await asyncio.wait({self._reading})

    def hold(self, session: SessionRecord) -> None:
        """Hear of the session from now on; release() it as often."""
        self._listen()
        key = session.key
        self._holders[key] = self._holders.get(key, 0) + 1
        self._positions.setdefault(key, session.inbox)
        rung_at = self._rung.get(key)
        if rung_at is not None and self._runtime.loop.time() - rung_at < REMEMBERED_SECONDS:
            self.look([key])

    def release(self, key: str) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key], self._positions[key]

    def heard(self, names: Iterable[str]) -> None:
        """Look at those that are held, and remember all of them for a moment."""
        now = self._runtime.loop.time()
        for name in names:
            self._rung.pop(name, None)
            self._rung[name] = now
        while self._rung and (len(self._rung) > REMEMBERED or self._is_past(now)):
            del self._rung[next(iter(self._rung))]
        self.look(names)

    def keys(self) -> list[str]:
        """Those of the sessions that are held."""
        return list(self._holders)

    def compare(self, found: Mapping[str, StreamRecord]) -> None:
        """Read those that stand otherwise in the store than here: whatever was not heard of is found."""
        self.look(key for key in self._holders if self._differs(key, found.get(key)))

    def _differs(self, key: str, inbox: StreamRecord | None) -> bool:
        if inbox is None or inbox.ended_at is not None:
            return True
        return inbox.position > self._positions.get(key, inbox.position)

    def look(self, names: Iterable[str]) -> None:
        """Read what is new in these inboxes, if they are held."""
        self._unread.update(self._holders.keys() & set(names))
        if self._unread and self._reading is None:
            self._reading = self._runtime.spawn(self._read(), "inbox")

    def _is_past(self, now: float) -> bool:
        return now - next(iter(self._rung.values())) >= REMEMBERED_SECONDS

    async def _read(self) -> None:
        keys: set[str] = set()
        try:
            while self._unread:
                keys, self._unread = self._unread & self._positions.keys(), set()
                for key in await self._changed(keys):
                    await self._read_inbox(key)
        except StoreUnavailable as error:
            logger.info("inboxes wait for the session store: %s", error)
            self._look_later(keys)
        except Exception:
            # What cannot be read now may be read later; unread, its sessions would stand.
            logger.exception("reading %d inboxes failed", len(keys))
            self._look_later(keys)
        finally:
            self._reading = None

    def _look_later(self, keys: set[str]) -> None:
        self._runtime.loop.call_later(AWAY_SECONDS, self.look, keys | self._unread)

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
        if reading is not None and reading.is_cut:
            await self._read_inbox(key)
        elif reading is None or reading.end is not None:
            session = None if reading is None else await get_store().aload_by_key(key)
            # It was purged before anybody here knew that it had ended.
            self._on_end(key, EndReason.EXPIRED if session is None else session.end_reason)

    def _take(self, key: str, reading: Reading | None) -> None:
        for event in () if reading is None else reading.events:
            if event.position <= self._positions.get(key, event.position):
                continue
            self._positions[key] = event.position
            self._handle(key, event.data)

    def _handle(self, key: str, text: str) -> None:
        try:
            self._on_message(key, json.loads(text))
        except Exception:
            # A newer version of the app may post what this one does not know.
            text = "session %s: a message of its inbox was not understood"
            logger.exception(text, key, extra=about(key))
