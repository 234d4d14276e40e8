"""The inboxes of the sessions that something is open or running for here."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from mcp_sessions import jsonrpc
from mcp_sessions.delivery.patience import AWAY_SECONDS
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.logs import about
from mcp_sessions.records import Mail, SessionRecord
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

REMEMBERED: Final = 10_000
REMEMBERED_SECONDS: Final = 5.0
"""A session may be rung for while a request for it is on its way to be one of ours."""

Message = dict[str, Any]


class Inboxes:
    """Reads, in order and once, what is posted to the sessions that are held here.

    A session is held from the position that its record was read with, so that nothing falls
    between the reading and the holding.
    """

    def __init__(
        self,
        runtime: Runtime,
        listen: Callable[[], None],
        ring: Callable[[Iterable[str]], None],
        on_message: Callable[[str, Message], None],
        on_end: Callable[[str, str], None],
    ) -> None:
        self._runtime = runtime
        self._listen = listen
        self._ring = ring
        self._on_message = on_message
        self._on_end = on_end
        self._positions: dict[str, int] = {}
        self._holders: dict[str, int] = {}
        self._rung: dict[str, float] = {}
        self._unread: set[str] = set()
        self._reading: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._holders)

    async def post(self, key: str, message: Message, question: str = "", *, answers: bool = False) -> bool:
        """Put a message where every process that holds the session finds it, this one too.

        With a question only if somebody waits for it; whether it was put there.
        """
        is_posted = await get_store().apost(key, jsonrpc.encode(message), question, answers=answers)
        if is_posted:
            self.ring(key)
        return is_posted

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

    def look(self, names: Iterable[str] | None = None) -> None:
        """Read what is new in these inboxes; in all of them if none is named."""
        held = self._holders.keys()
        self._unread.update(held if names is None else held & set(names))
        if self._unread and self._reading is None:
            self._reading = self._runtime.spawn(self._read(), "inbox")

    def _is_past(self, now: float) -> bool:
        return now - next(iter(self._rung.values())) >= REMEMBERED_SECONDS

    async def _read(self) -> None:
        keys: set[str] = set()
        try:
            while self._unread:
                keys, self._unread = self._unread & self._positions.keys(), set()
                mail = await get_store().aread_inboxes({key: self._positions[key] for key in keys})
                for key, each in mail.items():
                    self._take(key, each)
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

    def _take(self, key: str, mail: Mail) -> None:
        for position, text in mail.messages:
            if position <= self._positions.get(key, position):
                continue
            self._positions[key] = position
            self._handle(key, text)
        if mail.end_reason is not None:
            self._on_end(key, mail.end_reason)

    def _handle(self, key: str, text: str) -> None:
        try:
            self._on_message(key, json.loads(text))
        except Exception:
            # A newer version of the app may post what this one does not know.
            text = "session %s: a message of its inbox was not understood"
            logger.exception(text, key, extra=about(key))
