"""Messages to sessions from anywhere in the project: views, signal handlers, tasks, commands.

Every function has an `a` variant to await, which sends at once. The plain ones, called inside a database
transaction, send when it commits: what cannot be sent then is logged, and raises nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from django.utils import timezone

from mcp_sessions import jsonrpc
from mcp_sessions.commits import after_commit
from mcp_sessions.conf import DEFAULT_PATH, modern_revisions, served_paths
from mcp_sessions.delivery import Notice, get_hub, limit_notice, warning_notice
from mcp_sessions.exceptions import ConfigurationError, InvalidSessionData
from mcp_sessions.identifiers import is_made_key
from mcp_sessions.lifecycle import find
from mcp_sessions.logs import NONE, about
from mcp_sessions.records import MESSAGE, SessionRecord
from mcp_sessions.runtime import run
from mcp_sessions.stores import get_store

Params = Mapping[str, Any] | None

LIST_CHANGES: Final = frozenset(
    f"notifications/{kind}/list_changed" for kind in ("tools", "prompts", "resources")
)
PAGE: Final = 500
"""Sessions that are read and sent to together."""
_EVENT_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")

logger = logging.getLogger("mcp_sessions.messages")


async def asend_session_message(key: str, *, event: str, data: Any = None) -> bool:
    """Send a named event to a session: `key` is its public name, or its id; `data` any JSON value.

    It goes to every open stream of a client that speaks the guide's dialect, and waits while
    none is open. Clients of the specification know no named events: for them nothing is sent,
    and the answer is False. Raises SessionNotFound, and InvalidSessionData for what is not JSON.
    """
    _check_name(event)
    return await run(_send_event(key, event, _to_json(data)))


def send_session_message(key: str, *, event: str, data: Any = None) -> None:
    """asend_session_message() for synchronous code."""
    _check_name(event)
    work = partial(_send_event, key, event, _to_json(data))
    after_commit(f"the event {event!r} for session {_name(key)}", work)


async def asend_notification(key: str, method: str, params: Params = None) -> None:
    """Send a JSON-RPC notification to a session, by its public name or its id.

    It comes on one stream of the session, the newest that is open, wherever it is; while none is,
    it waits. A `notifications/message` below the level that the client has set is not sent.
    Raises SessionNotFound, and InvalidSessionData for what is no notification.
    """
    _check_method(method)
    await run(_send_notification(key, method, params, _notification(method, params)))


def send_notification(key: str, method: str, params: Params = None) -> None:
    """asend_notification() for synchronous code."""
    _check_method(method)
    work = partial(_send_notification, key, method, params, _notification(method, params))
    after_commit(f"{method!r} for session {_name(key)}", work)


async def asend_notification_to_all(method: str, params: Params = None, *, server: str | None = None) -> int:
    """Send a JSON-RPC notification to every live session of the server at this path; to how many.

    Without a path it is the project's one server; of several, the one at /mcp.
    """
    _check_method(method)
    return await run(_send_to_all(_path(server), method, params, _notification(method, params)))


def send_notification_to_all(method: str, params: Params = None, *, server: str | None = None) -> None:
    """asend_notification_to_all() for synchronous code."""
    _check_method(method)
    work = partial(_send_to_all, _path(server), method, params, _notification(method, params))
    after_commit(f"{method!r} for the sessions of {_path(server)}", work)


async def asend_resource_updated(uri: str, *, server: str | None = None) -> int:
    """Notify every session that is subscribed to the resource that it has changed; how many were notified.

    `server` is the path of the server whose resource it is: others may have one of the same URI. Without
    a path it is the project's one server; of several, the one at /mcp.
    """
    return await run(_send_resource_updated(uri, _path(server)))


def send_resource_updated(uri: str, *, server: str | None = None) -> None:
    """asend_resource_updated() for synchronous code."""
    work = partial(_send_resource_updated, uri, _path(server))
    after_commit(f"the update of the resource {uri!r}", work)


class SessionEventManager:
    """The guide's session events, sent by hand (its chapter "Custom Session Events").

    The app sends both by itself when their time comes. They name the session by its id, which
    only the open streams of its client have: so they are sent on those, and never kept.
    """

    async def anotify_session_warning(self, key: str, expires_in_seconds: float) -> None:
        """Warn a session's client that the session will expire. Raises SessionNotFound."""
        await run(_notify(key, warning_notice(expires_in_seconds)))

    def notify_session_warning(self, key: str, expires_in_seconds: float) -> None:
        work = partial(_notify, key, warning_notice(expires_in_seconds))
        after_commit(f"the warning for session {_name(key)}", work)

    async def anotify_session_limit_reached(self, key: str) -> None:
        """Notify a session's client that it has too many streams. Raises SessionNotFound."""
        await run(_notify(key, limit_notice()))

    def notify_session_limit_reached(self, key: str) -> None:
        work = partial(_notify, key, limit_notice())
        after_commit(f"the notice of a limit for session {_name(key)}", work)


async def _notify(key: str, notice: Notice) -> None:
    session = await find(key)
    await get_hub().notice(session.key, notice)
    await get_hub().flush_notifications()


async def _send_event(key: str, event: str, text: str) -> bool:
    session = await find(key)
    if session.dialect != "guide":
        text = "session %s: its client knows no named events, %r is not sent"
        logger.info(text, session.key, event, extra=about(session.key))
        return False
    await (await get_hub().send(session.key, event, text, everywhere=True))
    await get_hub().flush_notifications()
    return True


async def _send_resource_updated(uri: str, server: str) -> int:
    message = _notification("notifications/resources/updated", {"uri": uri})
    subscribed = await get_store().asubscribers(uri, timezone.now())
    sent = await _send_to([session for session in subscribed if session.server == server], message)
    await _publish(server, message)
    return sent


async def _send_notification(key: str, method: str, params: Params, message: str) -> None:
    session = await find(key)
    if session.takes(method, params):
        await _send_to([session], message)


async def _send_to_all(server: str, method: str, params: Params, message: str) -> int:
    sent, last = 0, ""
    while sessions := await get_store().alive_sessions(server, timezone.now(), last, PAGE):
        last = sessions[-1].key
        sent += await _send_to([session for session in sessions if session.takes(method, params)], message)
    if method in LIST_CHANGES:
        await _publish(server, message)
    return sent


async def publish_change(server: str, method: str, params: Params) -> None:
    """Notify only the clients that listen for changes without a session: those of 2026-07-28.

    On the runtime's loop. Raises StoreUnavailable.
    """
    await _publish(server, _notification(method, params))


async def _publish(server: str, message: str) -> None:
    if modern_revisions(server):
        await get_hub().topics.publish(server, message)


async def _send_to(sessions: Sequence[SessionRecord], message: str) -> int:
    """How many it was stored for: those that end meanwhile need no message."""
    waiting = [await get_hub().send_message(session.key, message) for session in sessions]
    sent = sum([bool(await stored) for stored in waiting])
    await get_hub().flush_notifications()
    return sent


def _notification(method: str, params: Params) -> str:
    return _to_json(jsonrpc.notification(method, params))


def _name(key: str) -> str:
    """How log lines call the session: what was given may be its id, which nothing repeats."""
    return key if isinstance(key, str) and is_made_key(key) else NONE


def _path(server: str | None) -> str:
    """The path of the server that is meant. Raises ConfigurationError where that is not to be known."""
    if server is not None:
        return server
    paths = served_paths()
    if len(paths) > 1 and DEFAULT_PATH not in paths:
        named = ", ".join(map(repr, paths))
        raise ConfigurationError(f"Several servers are served, none at {DEFAULT_PATH}: name one of {named}.")
    return DEFAULT_PATH if DEFAULT_PATH in paths else next(iter(paths))


def _check_method(method: str) -> None:
    if not method.startswith("notifications/"):
        raise InvalidSessionData(f"{method!r} is no notification: its method begins with 'notifications/'.")


def _check_name(event: str) -> None:
    if _EVENT_NAME.fullmatch(event) is None or event == MESSAGE:
        raise InvalidSessionData(
            f"{event!r} cannot name an event: use 1 to 64 letters, digits and . _ : -, and not {MESSAGE!r}, "
            "which is what JSON-RPC messages are sent as."
        )


def _to_json(data: Any) -> str:
    try:
        return jsonrpc.encode(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSessionData(f"An event's data must be JSON: {error}") from error
