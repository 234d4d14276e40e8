"""Sessions with their data and subscriptions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.exceptions import (
    DuplicateIdentifier,
    InvalidSessionData,
    LimitReached,
    SessionEnded,
    UnreadableData,
)
from mcp_sessions.logs import about
from mcp_sessions.records import (
    NO_LIMITS,
    ROTATED,
    EndReason,
    Limits,
    Rotation,
    SessionRecord,
    Statistics,
    Touch,
)
from mcp_sessions.stores.redis.records import metadata_fields, session_fields, session_record, session_records
from mcp_sessions.stores.redis.values import Argument, text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, chunks, do, flat, verb
from mcp_sessions.stores.storable import deserialize, digest_of_uri, serialize

logger = logging.getLogger("mcp_sessions.stores")


class Sessions(RunsSteps):
    @verb
    def create(self, session: SessionRecord, limits: Limits = NO_LIMITS) -> Steps[Sequence[SessionRecord]]:
        answer = yield from do(
            self,
            "create",
            session.key,
            session.digest,
            session.server,
            session.principal,
            session.created_at,
            session.expires_at,
            session.last_accessed_at,
            session.requests,
            session.ended_at,
            limits.per_principal,
            limits.in_all,
            limits.replaces,
            EndReason.REPLACED,
            *session_fields(session),
        )
        if answer == b"taken":
            raise DuplicateIdentifier("A session with this key or digest is already there.")
        if answer and answer[0] == b"limit":
            in_all = answer[1] == 2
            raise LimitReached((limits.in_all if in_all else limits.per_principal) or 0, in_all=in_all)
        return session_records(answer)

    @verb
    def load(self, digest: str) -> Steps[SessionRecord | None]:
        return session_record((yield from ask(self, "load", digest)))

    @verb
    def load_by_key(self, key: str) -> Steps[SessionRecord | None]:
        return session_record((yield from ask(self, "load_by_key", key)))

    @verb
    def live_sessions(
        self, server: str, now: datetime, after: str, limit: int
    ) -> Steps[Sequence[SessionRecord]]:
        return session_records((yield from ask(self, "live_sessions", server, now, after, limit)))

    @verb
    def keys_of(self, server: str, principal: str, now: datetime, limit: int) -> Steps[Sequence[str]]:
        found = yield from ask(self, "keys_of", server, principal, now, limit)
        return [key.decode() for key in found]

    @verb
    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> Steps[bool]:
        return bool((yield from ask(self, "save_metadata", key, *metadata_fields(changes))))

    @verb
    def touch(self, touches: Sequence[Touch]) -> Steps[Sequence[str]]:
        over: list[str] = []
        for some in chunks(touches):
            found = yield from do(self, "touch", *flat(map(_use, some)))
            over += [key.decode() for key in found]
        return over

    @verb
    def end(self, key: str, at: datetime, reason: str) -> Steps[bool]:
        return bool((yield from do(self, "end", key, at, reason)))

    @verb
    def expire(
        self, now: datetime, limit: int, keys: Sequence[str] | None = None
    ) -> Steps[Sequence[SessionRecord]]:
        how = (now, limit, EndReason.IDLE, EndReason.EXPIRED)
        found = yield from do(self, "expire", *how, keys is not None, *(keys or ()))
        return session_records(found)

    @verb
    def rotate(self, key: str, before: str, rotation: Rotation) -> Steps[bool]:
        owner = (rotation.owner is not None, rotation.owner, rotation.principal)
        new = (rotation.digest, rotation.until, rotation.sealed_id, *owner, ROTATED)
        answer = yield from do(self, "rotate", key, before, *new)
        if answer == b"taken":
            raise DuplicateIdentifier("A session with this digest is already there.")
        return bool(answer)

    @verb
    def purge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> Steps[int]:
        return int((yield from do(self, "purge", before, limit, keys is not None, *(keys or ()))))

    @verb
    def warn(self, key: str, expires_at: datetime) -> Steps[bool]:
        return bool((yield from do(self, "warn", key, expires_at)))

    @verb
    def expiring(
        self, server: str, now: datetime, before: datetime, limit: int
    ) -> Steps[Sequence[SessionRecord]]:
        return session_records((yield from ask(self, "expiring", server, now, before, limit)))

    @verb
    def statistics(self, now: datetime, server: str = "") -> Steps[Statistics]:
        return Statistics(*(yield from ask(self, "statistics", now, server)))

    @verb
    def count_live(self, now: datetime) -> Steps[int]:
        return int((yield from ask(self, "count_live", now)))

    @verb
    def lease(self, key: str, token: str, now: datetime, until: datetime) -> Steps[Mapping[str, Any] | None]:
        answer = yield from ask(self, "lease", key, token, now, until)
        if answer is None:
            raise SessionEnded("The session has ended: its data cannot be edited.")
        if answer == b"busy":
            return None
        try:
            return deserialize(text(answer[0] or b""))
        except (UnreadableData, UnicodeDecodeError) as error:
            logger.error("session %s cannot be edited: %s", key, error, extra=about(key))
            yield from ask(self, "release", key, token)
            raise SessionEnded("The session's data cannot be read: it stays as it is.") from error

    @verb
    def renew(self, key: str, token: str, until: datetime) -> Steps[bool]:
        return bool((yield from ask(self, "renew", key, token, until)))

    @verb
    def release(self, key: str, token: str, data: Mapping[str, Any] | None) -> Steps[bool]:
        try:
            changes: list[Argument] = [] if data is None else [serialize(data)]
        except InvalidSessionData:
            yield from ask(self, "release", key, token)
            raise
        answer = yield from do(self, "release", key, token, *changes)
        if answer is None:
            raise SessionEnded("The session has ended: nothing of the edit was written.")
        return bool(answer)

    @verb
    def subscribe(self, key: str, uri: str, limit: int | None = None) -> Steps[bool]:
        return bool((yield from ask(self, "subscribe", key, digest_of_uri(uri), limit)))

    @verb
    def unsubscribe(self, key: str, uri: str) -> Steps[None]:
        yield from ask(self, "unsubscribe", key, digest_of_uri(uri))

    @verb
    def subscribers(self, uri: str, now: datetime) -> Steps[Sequence[SessionRecord]]:
        found: dict[str, SessionRecord] = {}
        cursor = "0"
        while True:
            answer, some = yield from ask(self, "subscribers", digest_of_uri(uri), now, cursor)
            found.update((session.key, session) for session in session_records(some))
            if (cursor := text(answer)) == "0":
                return list(found.values())


def _use(touch: Touch) -> tuple[Argument, ...]:
    instants = (touch.last_accessed_at, touch.expires_at, touch.timeout_at)
    return (touch.key, *instants, touch.requests, touch.connections)
