"""Messages to sessions from anywhere in the project: views, signal handlers, tasks, commands.

Every function has an `a` twin to await. The plain ones, called inside a database transaction,
send when it commits.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction
from django.utils import timezone

from mcp_sessions import jsonrpc
from mcp_sessions.delivery import hub
from mcp_sessions.exceptions import InvalidSessionData
from mcp_sessions.lifecycle import find
from mcp_sessions.runtime import run, run_sync
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.messages")


async def asend_session_message(key: str, *, event: str, data: Any = None) -> bool:
    """Send a named event to a session: `key` is its public name (its id is accepted too), `data` any JSON value.

    It goes to every open stream of a client that speaks the guide's dialect, and waits while
    none is open. Clients of the specification know no named events: for them nothing is sent,
    and the answer is False. Raises SessionNotFound, and InvalidSessionData for what is not JSON.
    """
    text = _to_json(data)
    return await run(_send_event(key, event, text))


def send_session_message(key: str, *, event: str, data: Any = None) -> None:
    """asend_session_message() for synchronous code."""
    text = _to_json(data)
    transaction.on_commit(partial(_run_sync_event, key, event, text))


async def asend_resource_updated(uri: str) -> int:
    """Tell every session that is subscribed to the resource that it has changed; how many were told."""
    return await run(_send_resource_updated(uri))


def send_resource_updated(uri: str) -> None:
    """asend_resource_updated() for synchronous code."""
    transaction.on_commit(lambda: _discard(run_sync(_send_resource_updated(uri))))


async def _send_event(key: str, event: str, text: str) -> bool:
    session = await find(key)
    if session.dialect != "guide":
        logger.info("session %s: its client knows no named events, %r is not sent", session.key, event)
        return False
    for stored in await hub().send_event(session.key, event, text):
        await stored
    return True


async def _send_resource_updated(uri: str) -> int:
    message = jsonrpc.notification("notifications/resources/updated", {"uri": uri})
    sessions = await get_store().asubscribers(uri, timezone.now())
    waiting = [await hub().send_message(session.key, message) for session in sessions]
    for stored in waiting:
        await stored
    return len(waiting)


def _run_sync_event(key: str, event: str, text: str) -> None:
    run_sync(_send_event(key, event, text))


def _discard(_: object) -> None:
    """on_commit takes callables without a result."""


def _to_json(data: Any) -> str:
    try:
        return jsonrpc.encode(data)
    except (TypeError, ValueError) as error:
        raise InvalidSessionData(f"An event's data must be JSON: {error}") from error
