"""Sessions: created within limits, found, used, rotated, ended, deleted and counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.exceptions import DuplicateIdentifier, LimitReached
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
from mcp_sessions.stores.redis.commands import (
    RunsSteps,
    Steps,
    chunks,
    flat,
    method,
    run_once,
    run_repeatable,
)
from mcp_sessions.stores.redis.records import metadata_fields, session_fields, session_record, session_records
from mcp_sessions.stores.redis.values import Argument


class Sessions(RunsSteps):
    @method
    def create(self, session: SessionRecord, limits: Limits = NO_LIMITS) -> Steps[Sequence[SessionRecord]]:
        answer = yield from run_once(
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

    @method
    def load(self, digest: str) -> Steps[SessionRecord | None]:
        return session_record((yield from run_repeatable(self, "load", digest)))

    @method
    def load_by_key(self, key: str) -> Steps[SessionRecord | None]:
        return session_record((yield from run_repeatable(self, "load_by_key", key)))

    @method
    def live_sessions(
        self, server: str, now: datetime, after: str, limit: int
    ) -> Steps[Sequence[SessionRecord]]:
        return session_records((yield from run_repeatable(self, "live_sessions", server, now, after, limit)))

    @method
    def keys_of(self, server: str, principal: str, now: datetime, limit: int) -> Steps[Sequence[str]]:
        found = yield from run_repeatable(self, "keys_of", server, principal, now, limit)
        return [key.decode() for key in found]

    @method
    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> Steps[bool]:
        return bool((yield from run_repeatable(self, "save_metadata", key, *metadata_fields(changes))))

    @method
    def touch(self, touches: Sequence[Touch]) -> Steps[Sequence[str]]:
        over: list[str] = []
        for some in chunks(touches):
            found = yield from run_once(self, "touch", *flat(map(_use, some)))
            over += [key.decode() for key in found]
        return over

    @method
    def end(self, key: str, at: datetime, reason: str) -> Steps[bool]:
        return bool((yield from run_once(self, "end", key, at, reason)))

    @method
    def expire(
        self, now: datetime, limit: int, keys: Sequence[str] | None = None
    ) -> Steps[Sequence[SessionRecord]]:
        how = (now, limit, EndReason.IDLE, EndReason.EXPIRED)
        found = yield from run_once(self, "expire", *how, keys is not None, *(keys or ()))
        return session_records(found)

    @method
    def rotate(self, key: str, before: str, rotation: Rotation) -> Steps[bool]:
        owner = (rotation.owner is not None, rotation.owner, rotation.principal)
        new = (rotation.digest, rotation.until, rotation.sealed_id, *owner, ROTATED)
        answer = yield from run_once(self, "rotate", key, before, *new)
        if answer == b"taken":
            raise DuplicateIdentifier("A session with this digest is already there.")
        return bool(answer)

    @method
    def purge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> Steps[int]:
        return int((yield from run_once(self, "purge", before, limit, keys is not None, *(keys or ()))))

    @method
    def warn(self, key: str, expires_at: datetime) -> Steps[bool]:
        return bool((yield from run_once(self, "warn", key, expires_at)))

    @method
    def expiring(
        self, server: str, now: datetime, before: datetime, limit: int
    ) -> Steps[Sequence[SessionRecord]]:
        return session_records((yield from run_repeatable(self, "expiring", server, now, before, limit)))

    @method
    def statistics(self, now: datetime, server: str = "") -> Steps[Statistics]:
        return Statistics(*(yield from run_repeatable(self, "statistics", now, server)))

    @method
    def count_live(self, now: datetime) -> Steps[int]:
        return int((yield from run_repeatable(self, "count_live", now)))


def _use(touch: Touch) -> tuple[Argument, ...]:
    instants = (touch.last_accessed_at, touch.expires_at, touch.timeout_at)
    return (touch.key, *instants, touch.requests, touch.connections)
