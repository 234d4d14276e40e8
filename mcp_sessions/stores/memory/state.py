"""Everything that a store keeps: what a transaction gives, and changes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from mcp_sessions.stores.memory.kept import LONG_AGO, Change, Group, Session, Stream, Worker

INSTANT: Final = timedelta(microseconds=1)
KEPT: Final = timedelta(minutes=1)
"""How long a change can be learned of, and its token is known."""


@dataclass(slots=True)
class State:
    """All of it. Whoever changes what an index depends on says so by the method beside the index."""

    sessions: dict[str, Session] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    """By the digest of the session's id."""
    previous: dict[str, str] = field(default_factory=dict)
    """By the digest of the id that it had before its rotation."""
    streams: dict[str, Stream] = field(default_factory=dict)
    subscribers: dict[str, dict[str, None]] = field(default_factory=dict)
    """Keys of sessions by the URI of a resource."""
    groups: dict[tuple[str, ...], Group] = field(default_factory=dict)
    """By (server,) and by (server, principal)."""
    changes: deque[Change] = field(default_factory=deque)
    tokens: set[str] = field(default_factory=set)
    """Those of the changes."""
    workers: dict[str, Worker] = field(default_factory=dict)
    rate_limits: dict[str, int] = field(default_factory=dict)
    """By name, the theoretical arrival time in microseconds (see gcra)."""
    last_number: int = 0
    last_change: int = 0
    last_attached_at: datetime = LONG_AGO

    # -- sessions ------------------------------------------------------------------------

    def add_session(self, session: Session) -> None:
        session.number = self.next_number()
        self.sessions[session.key] = session
        self.keys[session.digest] = session.key
        self.rank(session)

    def drop_session(self, session: Session) -> None:
        """Delete an ended session with all that is its own."""
        for uri in list(session.subscriptions):
            self.unsubscribe(session, uri)
        for stream in list(session.streams.values()):
            self.drop_stream(stream)
        self.forget_previous(session)
        del self.sessions[session.key], self.keys[session.digest]

    def set_digest(self, session: Session, digest: str) -> None:
        """Its id is another one; the one before is remembered."""
        self.forget_previous(session)
        del self.keys[session.digest]
        session.previous_digest, session.digest = session.digest, digest
        self.keys[session.digest] = self.previous[session.previous_digest] = session.key

    def forget_previous(self, session: Session) -> None:
        if self.previous.get(session.previous_digest) == session.key:
            del self.previous[session.previous_digest]
        session.previous_digest, session.previous_until, session.sealed_id = "", None, ""

    def unended(self, key: str) -> Session | None:
        """The session, if it is there and has not ended; its time may have run out."""
        session = self.sessions.get(key)
        return None if session is None or session.ended_at is not None else session

    def group(self, *name: str) -> Group:
        return self.groups.get(name) or Group()

    def rank(self, session: Session) -> None:
        """After its times, its count of requests or its end have changed."""
        for name in ((session.server,), (session.server, session.principal)):
            group = self.groups.setdefault(name, Group())
            if session.ended_at is None:
                group.by_end.put(session.key, session.expires_at)
                group.by_use.put(
                    session.key, (session.requests > 0, session.last_accessed_at, session.number)
                )
            else:
                group.by_end.drop(session.key)
                group.by_use.drop(session.key)
            if not len(group.by_end):
                del self.groups[name]

    def unrank(self, session: Session) -> None:
        """Before it counts for somebody else."""
        for name in ((session.server,), (session.server, session.principal)):
            group = self.group(*name)
            group.by_end.drop(session.key)
            group.by_use.drop(session.key)
            if not len(group.by_end):
                self.groups.pop(name, None)

    def subscribe(self, session: Session, uri: str) -> None:
        session.subscriptions.add(uri)
        self.subscribers.setdefault(uri, {})[session.key] = None

    def unsubscribe(self, session: Session, uri: str) -> None:
        session.subscriptions.discard(uri)
        keys = self.subscribers.get(uri, {})
        keys.pop(session.key, None)
        if not keys:
            self.subscribers.pop(uri, None)

    # -- streams -------------------------------------------------------------------------

    def add_stream(self, session: Session, stream: Stream) -> None:
        stream.number = self.next_number()
        stream.created_at = timezone.now()
        stream.idle_since = None if stream.reader or stream.writer else stream.created_at
        self.streams[stream.name] = session.streams[stream.name] = stream
        if stream.kind == "get":
            session.get_streams[stream.name] = stream

    def end_stream(self, stream: Stream, at: datetime) -> None:
        stream.ended_at, stream.writer = at, ""
        self.sessions[stream.session_key].get_streams.pop(stream.name, None)

    def drop_stream(self, stream: Stream) -> None:
        session = self.sessions[stream.session_key]
        session.get_streams.pop(stream.name, None)
        del session.streams[stream.name], self.streams[stream.name]

    def named(self, names: Iterable[str]) -> list[Stream]:
        """Those of these streams that are there."""
        return [self.streams[name] for name in names if name in self.streams]

    # -- what has changed ----------------------------------------------------------------

    def notify(self, names: Collection[str], token: str = "") -> None:
        """Tell every process of what was added to or ended, if anything was."""
        if not names:
            return
        self.forget_changes()
        self.last_change += 1
        self.changes.append(Change(self.last_change, tuple(names), token, timezone.now()))
        if token:
            self.tokens.add(token)

    def forget_changes(self) -> None:
        since = timezone.now() - KEPT
        while self.changes and self.changes[0].at < since:
            self.tokens.discard(self.changes.popleft().token)

    # -- order ---------------------------------------------------------------------------

    def next_number(self) -> int:
        """In the order in which sessions and streams are opened and events stored."""
        self.last_number += 1
        return self.last_number

    def next_attachment(self) -> datetime:
        """The instant of a new connection: later than that of every other, whatever the clock says."""
        self.last_attached_at = max(timezone.now(), self.last_attached_at + INSTANT)
        return self.last_attached_at


class Transactional(ABC):
    """A store that has one primitive."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[State]:
        """The state, for whoever has it alone until the block ends.

        What the block changes is kept as a whole when it ends, and not at all if it raises. The
        methods raise before they change anything, so a store that keeps the very state it gives
        need not take anything back.
        """
