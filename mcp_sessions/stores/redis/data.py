"""What tools keep of a session, what it is subscribed to, and which requests to its client are pending."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.exceptions import InvalidSessionData, SessionEnded, UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.redis.commands import RunsSteps, Steps, method, run_once, run_repeatable
from mcp_sessions.stores.redis.records import session_records
from mcp_sessions.stores.redis.values import Argument, text
from mcp_sessions.stores.storable import deserialize, digest_of_uri, serialize

logger = logging.getLogger("mcp_sessions.stores")


class SessionData(RunsSteps):
    @method
    def lease(self, key: str, token: str, now: datetime, until: datetime) -> Steps[Mapping[str, Any] | None]:
        answer = yield from run_repeatable(self, "lease", key, token, now, until)
        if answer is None:
            raise SessionEnded("The session has ended: its data cannot be edited.")
        if answer == b"busy":
            return None
        try:
            return deserialize(text(answer[0] or b""))
        except (UnreadableData, UnicodeDecodeError) as error:
            logger.error("session %s cannot be edited: %s", key, error, extra=about(key))
            yield from run_repeatable(self, "release", key, token)
            raise SessionEnded("The session's data cannot be read: it stays as it is.") from error

    @method
    def renew(self, key: str, token: str, until: datetime) -> Steps[bool]:
        return bool((yield from run_repeatable(self, "renew", key, token, until)))

    @method
    def release(self, key: str, token: str, data: Mapping[str, Any] | None) -> Steps[bool]:
        try:
            changes: list[Argument] = [] if data is None else [serialize(data)]
        except InvalidSessionData:
            yield from run_repeatable(self, "release", key, token)
            raise
        answer = yield from run_once(self, "release", key, token, *changes)
        if answer is None:
            raise SessionEnded("The session has ended: nothing of the edit was written.")
        return bool(answer)

    @method
    def subscribe(self, key: str, uri: str, limit: int | None = None) -> Steps[bool]:
        return bool((yield from run_repeatable(self, "subscribe", key, digest_of_uri(uri), limit)))

    @method
    def unsubscribe(self, key: str, uri: str) -> Steps[None]:
        yield from run_repeatable(self, "unsubscribe", key, digest_of_uri(uri))

    @method
    def subscribers(self, uri: str, now: datetime) -> Steps[Sequence[SessionRecord]]:
        found: dict[str, SessionRecord] = {}
        cursor = "0"
        while True:
            answer, some = yield from run_repeatable(self, "subscribers", digest_of_uri(uri), now, cursor)
            found.update((session.key, session) for session in session_records(some))
            if (cursor := text(answer)) == "0":
                return list(found.values())

    @method
    def add_request(self, key: str, request: str, until: datetime, limit: int | None) -> Steps[bool]:
        answer = yield from run_repeatable(self, "add_request", key, request, until, limit)
        if answer is None:
            raise SessionEnded("The session has ended: its client is sent no request.")
        return bool(answer)

    @method
    def drop_request(self, key: str, request: str) -> Steps[None]:
        yield from run_repeatable(self, "drop_request", key, request)
