"""What the tests of the contract begin with: settings, sessions, streams and events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.test import override_settings

from mcp_sessions.identifiers import digest_of, new_key, new_session_id, new_stream_name
from mcp_sessions.records import Inbound, SessionRecord, StreamKind, principal_of
from mcp_sessions.stores.base import BaseSessionStore

NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
"""With microseconds, in the hour that summer time takes away in Europe."""
HOUR = timedelta(hours=1)


@contextmanager
def configured(**options: Any) -> Iterator[None]:
    """The project's MCP_SESSIONS with some other options."""
    with override_settings(MCP_SESSIONS={**settings.MCP_SESSIONS, **options}):
        yield


def make_session(**changes: Any) -> SessionRecord:
    values: dict[str, Any] = {
        "key": new_key(),
        "digest": digest_of(new_session_id()),
        "server": "/mcp",
        "owner": "somebody",
        "created_at": NOW,
        "last_accessed_at": NOW,
        "expires_at": NOW + HOUR,
        "principal": principal_of("/mcp", "somebody", ""),
        "metadata": {"dialect": "specification"},
        **changes,
    }
    return SessionRecord(**{"timeout_at": values["expires_at"], **values})


def put(store: BaseSessionStore, **changes: Any) -> SessionRecord:
    """A session that is in the store."""
    session = make_session(**changes)
    store.create(session)
    return session


def put_stream(
    store: BaseSessionStore,
    session: SessionRecord | None = None,
    kind: StreamKind = "get",
    worker: str = "",
    request_ids: Sequence[int | str] = (),
) -> str:
    """The name of a new stream."""
    key = put(store).key if session is None else session.key
    return store.open_stream(key, new_stream_name(), kind, worker, request_ids).name


def put_read(store: BaseSessionStore, session: SessionRecord, worker: str = "reader") -> str:
    """The name of a new GET stream that the worker reads."""
    name = new_stream_name()
    attachment = store.attach(session.key, name, worker, 0, None, is_new=True)
    assert attachment is not None
    return name


def post(
    store: BaseSessionStore, key: str, message: str, request: str = "", *, answers: bool = False
) -> bool:
    """Whether the message was put into the session's inbox."""
    return store.append([Inbound(key, message, request, answers)]) != [()]


async def apost(store: BaseSessionStore, key: str, message: str) -> bool:
    return await store.aappend([Inbound(key, message)]) != [()]


def messages(*texts: str) -> tuple[tuple[str, str], ...]:
    return tuple(("message", text) for text in texts)
