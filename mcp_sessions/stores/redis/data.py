"""The verbs on a session's data and subscriptions."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.exceptions import InvalidSessionData, SessionEnded, UnreadableData
from mcp_sessions.logs import about
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.redis.records import session_records
from mcp_sessions.stores.redis.values import Argument, text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, do, verb
from mcp_sessions.stores.storable import deserialize, digest_of_uri, serialize

logger = logging.getLogger("mcp_sessions.stores")


class DataVerbs(RunsSteps):
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
