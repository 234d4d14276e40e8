"""Sessions: opened within limits, found, used, rotated, ended, deleted and counted."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice, takewhile
from typing import Any

from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier, LimitReached, UnreadableData
from mcp_sessions.lifetimes import expiry_reason
from mcp_sessions.logs import about
from mcp_sessions.records import (
    NO_LIMITS,
    ROTATED,
    EndReason,
    Inbound,
    Limits,
    Rotation,
    SessionRecord,
    Statistics,
    Touch,
)
from mcp_sessions.stores.memory.batches import store_batch
from mcp_sessions.stores.memory.kept import Group, Session
from mcp_sessions.stores.memory.records import new_session, read_metadata, readable, session_record
from mcp_sessions.stores.memory.state import State, Transactional
from mcp_sessions.stores.storable import storable_json

logger = logging.getLogger("mcp_sessions.stores")


class Sessions(Transactional):
    def create(self, session: SessionRecord, limits: Limits = NO_LIMITS) -> Sequence[SessionRecord]:
        new = new_session(session)
        with self.transaction() as state:
            if session.key in state.sessions or session.digest in state.keys:
                raise DuplicateIdentifier("A session with this key or digest is already there.")
            replaced = in_the_way(state, new, limits)
            records = list(readable(replaced))
            for each in replaced:
                end_session(state, each, session.created_at, EndReason.REPLACED, session.created_at)
            state.notify([each.key for each in replaced])
            state.add_session(new)
            return records

    def load(self, digest: str) -> SessionRecord | None:
        with self.transaction() as state:
            found = {*filter(None, (state.keys.get(digest), state.previous.get(digest)))}
            return find(state, found.pop()) if len(found) == 1 else None

    def load_by_key(self, key: str) -> SessionRecord | None:
        with self.transaction() as state:
            return find(state, key)

    def live_sessions(self, server: str, now: datetime, after: str, limit: int) -> Sequence[SessionRecord]:
        with self.transaction() as state:
            keys = sorted(key for key in state.group(server).by_end if key > after)
            live = (state.sessions[key] for key in keys if state.sessions[key].is_live(now))
            return list(islice(readable(live), limit))

    def keys_of(self, server: str, principal: str, now: datetime, limit: int) -> Sequence[str]:
        with self.transaction() as state:
            keys = state.group(server, principal).by_end
            return list(islice((key for key in keys if state.sessions[key].is_live(now)), limit))

    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        text = json.dumps(storable_json(changes))
        with self.transaction() as state:
            session = state.unended(key)
            return session is not None and merge_metadata(session, json.loads(text))

    def touch(self, touches: Sequence[Touch]) -> Sequence[str]:
        with self.transaction() as state:
            for touch in touches:
                session = state.sessions.get(touch.key)
                if session is not None and touch.last_accessed_at < session.expires_at:
                    add_touch(session, touch)
                    state.rank(session)
            return [touch.key for touch in touches if state.unended(touch.key) is None]

    def warn(self, key: str, expires_at: datetime) -> bool:
        with self.transaction() as state:
            session = state.unended(key)
            if session is None or session.is_warned_of(expires_at):
                return False
            session.warned_for = expires_at
            return True

    def expiring(self, server: str, now: datetime, before: datetime, limit: int) -> Sequence[SessionRecord]:
        with self.transaction() as state:
            ordered = (state.sessions[key] for key in state.group(server).by_end)
            soon = takewhile(lambda session: session.expires_at <= before, ordered)
            unwarned = (each for each in soon if each.is_live(now) and not each.is_warned_of(each.expires_at))
            return list(islice(readable(unwarned), limit))

    def rotate(self, key: str, before: str, rotation: Rotation) -> bool:
        with self.transaction() as state:
            session = state.unended(key)
            if session is None or session.digest != before:
                return False
            if rotation.digest in state.keys:
                raise DuplicateIdentifier("A session with this digest is already there.")
            state.set_digest(session, rotation.digest)
            session.previous_until, session.sealed_id = rotation.until, rotation.sealed_id
            if rotation.owner is not None:
                set_owner(state, session, rotation)
            store_batch(state, [Inbound(key, ROTATED)])
            return True

    def end(self, key: str, at: datetime, reason: str) -> bool:
        with self.transaction() as state:
            if (session := state.unended(key)) is None:
                return False
            end_session(state, session, at, reason, at)
            state.notify([key])
            return True

    def expire(self, now: datetime, limit: int, keys: Sequence[str] | None = None) -> Sequence[SessionRecord]:
        with self.transaction() as state:
            named = (state.unended(key) for key in (state.sessions if keys is None else dict.fromkeys(keys)))
            over = [session for session in named if session is not None and session.expires_at <= now]
            chosen = sorted(over, key=lambda session: session.expires_at)[:limit]
            records = list(readable(chosen))
            for session in chosen:
                reason = expiry_reason(session.expires_at, session.timeout_at)
                end_session(state, session, session.expires_at, reason, now)
            state.notify([session.key for session in chosen])
            return records

    def purge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> int:
        with self.transaction() as state:
            chosen = state.sessions if keys is None else keys
            sessions = [state.sessions[key] for key in chosen if key in state.sessions]
            ended = [s for s in sessions if s.ended_at is not None and s.ended_at <= before]
            for session in ended[:limit]:
                state.drop_session(session)
            # Of some of them somebody may not have heard that they are over.
            state.notify([session.key for session in ended[:limit]])
            return len(ended[:limit])

    def statistics(self, now: datetime, server: str = "") -> Statistics:
        with self.transaction() as state:
            sessions = [s for s in state.sessions.values() if s.server == (server or s.server)]
            streams = [x for s in sessions for x in s.streams.values() if x.ended_at is None]
            return Statistics(
                live=sum(session.is_live(now) for session in sessions),
                expired=sum(s.ended_at is None and not s.is_live(now) for s in sessions),
                ended=sum(session.ended_at is not None for session in sessions),
                open_streams=sum(stream.kind == "get" and stream.reader != "" for stream in streams),
                running_calls=sum(stream.writer != "" for stream in streams),
            )


def find(state: State, key: str) -> SessionRecord | None:
    session = state.sessions.get(key)
    return None if session is None else session_record(session)


def merge_metadata(session: Session, changes: Mapping[str, Any]) -> bool:
    """False, with a log line, if what is there cannot be read: it stays as it is."""
    try:
        session.metadata = json.dumps({**read_metadata(session), **changes})
    except UnreadableData as error:
        logger.error("session %s cannot be changed: %s", session.key, error, extra=about(session.key))
        return False
    return True


def add_touch(session: Session, touch: Touch) -> None:
    session.requests += touch.requests
    session.connections += touch.connections
    if session.ended_at is not None:
        return
    session.last_accessed_at = max(session.last_accessed_at, touch.last_accessed_at)
    session.expires_at = max(session.expires_at, touch.expires_at)
    session.timeout_at = max(session.timeout_at, touch.timeout_at)


def in_the_way(state: State, new: Session, limits: Limits) -> list[Session]:
    """The sessions that have to end for a new one. Raises LimitReached if none may."""
    chosen: dict[str, Session] = {}
    for limit, group, in_all in (
        (limits.per_principal, state.group(new.server, new.principal), False),
        (limits.in_all, state.group(new.server), True),
    ):
        if limit is None:
            continue
        # Whoever makes room among the principal's makes room among all.
        excess = group.by_end.count_above(new.created_at) - len(chosen) + 1 - limit
        if excess > 0 and not limits.replaces:
            raise LimitReached(limit, in_all=in_all)
        others = (s for s in least_needed(state, group) if s.is_live(new.created_at) and s.key not in chosen)
        chosen.update((session.key, session) for session in list(islice(others, max(excess, 0))))
    return list(chosen.values())


def least_needed(state: State, group: Group) -> Iterator[Session]:
    """Those that can go first come first. Hardly ever more than a few are looked at."""

    def by_use(is_busy: bool) -> Iterator[Session]:
        return (state.sessions[key] for key in group.by_use if state.sessions[key].is_busy == is_busy)

    return chain(by_use(False), by_use(True))


def set_owner(state: State, session: Session, rotation: Rotation) -> None:
    state.unrank(session)
    session.owner, session.principal = rotation.owner or "", rotation.principal
    state.rank(session)


def forget_previous(state: State) -> None:
    """Forget the previous ids whose grace is over."""
    now = timezone.now()
    for key in list(state.previous.values()):
        session = state.sessions[key]
        if session.previous_until is not None and session.previous_until < now:
            state.forget_previous(session)


def end_session(state: State, session: Session, ended_at: datetime, reason: str, now: datetime) -> None:
    """End it with its streams. The caller notifies of its key, since somebody may have a stream open.

    The reply of a call that runs is ended by the call, which is cancelled and says so in it.
    """
    session.ended_at, session.end_reason = ended_at, reason
    state.rank(session)
    for stream in session.streams.values():
        is_running = stream.kind == "post" and stream.writer != ""
        if stream.ended_at is None and not is_running:
            state.end_stream(stream, now)
            stream.idle_since = now
