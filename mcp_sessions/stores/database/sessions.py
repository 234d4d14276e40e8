"""The verbs on sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q
from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.models import (
    InboxMessage,
    Session,
    SessionQuerySet,
    Stream,
    StreamEvent,
    Subscription,
)
from mcp_sessions.records import SessionRecord, Touch
from mcp_sessions.stores.database.locking import delete_rows, for_update, lock_session, lock_streams
from mcp_sessions.stores.database.ringing import ring
from mcp_sessions.stores.database.rows import fetch_sessions
from mcp_sessions.stores.database.verbs import verb, writing
from mcp_sessions.stores.storable import checked_data, storable_json


class SessionVerbs:
    alias: str

    def _sessions(self) -> SessionQuerySet:
        return Session.objects.using(self.alias)

    @verb
    def create(self, session: SessionRecord) -> None:
        row = new_row(session)
        try:
            with writing(self.alias):
                row.save(using=self.alias, force_insert=True)
        except IntegrityError as error:
            if not self._sessions().filter(Q(key=session.key) | Q(digest=session.digest)).exists():
                raise
            raise DuplicateIdentifier("A session with this key or digest is already there.") from error

    @verb
    def load(self, digest: str) -> SessionRecord | None:
        return next(iter(fetch_sessions(self.alias, "WHERE s.digest = %s", [digest])), None)

    @verb
    def load_by_key(self, key: str) -> SessionRecord | None:
        column = connections[self.alias].ops.quote_name("key")
        return next(iter(fetch_sessions(self.alias, f"WHERE s.{column} = %s", [key])), None)

    @verb
    def live_sessions(self, server: str, now: datetime, after: str, limit: int) -> Sequence[SessionRecord]:
        key = connections[self.alias].ops.quote_name("key")
        rest = (
            f"WHERE s.server = %s AND s.{key} > %s AND s.ended_at IS NULL AND s.expires_at > %s"
            f" ORDER BY s.{key} LIMIT %s"
        )
        at = connections[self.alias].ops.adapt_datetimefield_value(now)
        return fetch_sessions(self.alias, rest, [server, after, at, limit])

    @verb
    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        with writing(self.alias):
            found = lock_session(self.alias, key, "pk", "metadata")
            if found is None:
                return False
            merged = {**found[1], **storable_json(changes)}
            self._sessions().filter(pk=found[0]).update(metadata=merged)
            return True

    @verb
    def touch(self, touches: Sequence[Touch]) -> None:
        with writing(self.alias):
            keys = [touch.key for touch in touches]
            rows = for_update(self._sessions().unended().filter(key__in=keys).order_by("key"))
            sessions = {row.key: row for row in rows.defer("data")}
            used = [touch for touch in touches if touch.key in sessions]
            for touch in used:
                add_touch(sessions[touch.key], touch)
            for session in sessions.values():
                self._sessions().filter(pk=session.pk).update(
                    metadata=session.metadata,
                    last_accessed_at=session.last_accessed_at,
                    expires_at=session.expires_at,
                )

    @verb
    def end(self, key: str, at: datetime, reason: str) -> bool:
        with writing(self.alias) as connection:
            # The session first: from here on it gets no new stream.
            if not self._sessions().unended().filter(key=key).update(ended_at=at, end_reason=reason):
                return False
            # The reply of a call that runs is ended by the call, which is cancelled and says so in it.
            unended = Stream.objects.using(self.alias).unended().exclude(Q(kind="post") & ~Q(writer=""))
            names = list(unended.filter(session__key=key).values_list("name", flat=True))
            ids = [stream.id for stream in lock_streams(connection, names)]
            unended.filter(pk__in=ids).update(ended_at=at, writer="", idle_since=at)
            ring(connection, [key], connection.ops.adapt_datetimefield_value(timezone.now()))
            return True

    @verb
    def purge(self, now: datetime, limit: int) -> int:
        with writing(self.alias) as connection:
            # What somebody else is using or deleting at this moment is left to the next purge.
            dead = for_update(self._sessions().dead(now), skips_locked=True)
            ids = list(dead.values_list("pk", flat=True)[:limit])
            keys = list(self._sessions().filter(pk__in=ids).values_list("key", flat=True))
            delete_sessions(connection, ids)
            if keys:
                # Of some of them somebody may not have heard that they are over.
                ring(connection, keys, connection.ops.adapt_datetimefield_value(timezone.now()))
            return len(ids)


def new_row(session: SessionRecord) -> Session:
    return Session(
        key=session.key,
        digest=session.digest,
        server=session.server,
        owner=session.owner,
        created_at=session.created_at,
        last_accessed_at=session.last_accessed_at,
        expires_at=session.expires_at,
        ended_at=session.ended_at,
        end_reason=session.end_reason,
        metadata=storable_json(session.metadata),
        data=checked_data(session.data),
    )


def add_touch(session: Session, touch: Touch) -> None:
    for name, count in (("requests", touch.requests), ("connections", touch.connections)):
        session.metadata[name] = session.metadata.get(name, 0) + count
    session.last_accessed_at = max(session.last_accessed_at, touch.last_accessed_at)
    session.expires_at = max(session.expires_at, touch.expires_at)


def delete_sessions(connection: BaseDatabaseWrapper, ids: Sequence[int]) -> None:
    """Delete locked sessions with all that is theirs, from the leaves up."""
    streams = Stream.objects.using(connection.alias).filter(session__in=ids)
    locked = lock_streams(connection, streams.values_list("name", flat=True))
    stream_ids = [stream.id for stream in locked]
    delete_rows(connection, StreamEvent, "stream_id", stream_ids)
    delete_rows(connection, Stream, "id", stream_ids)
    delete_rows(connection, InboxMessage, "session_id", ids)
    delete_rows(connection, Subscription, "session_id", ids)
    delete_rows(connection, Session, "id", ids)
