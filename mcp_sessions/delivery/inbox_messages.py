"""Messages of a session's inbox, each handed to what it is for: a pending request, a call, a connection."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from mcp_sessions import jsonrpc
from mcp_sessions.delivery.calls import Calls
from mcp_sessions.delivery.connections import Connections
from mcp_sessions.delivery.follower import Notice
from mcp_sessions.delivery.pending_requests import PendingRequests
from mcp_sessions.delivery.retry import with_retry
from mcp_sessions.runtime import Runtime
from mcp_sessions.security.rotation import current_id
from mcp_sessions.stores import get_store


class InboxMessages:
    """The inboxes' listener. A message that is not for this process is for another one."""

    def __init__(
        self, runtime: Runtime, calls: Calls, pending_requests: PendingRequests, connections: Connections
    ) -> None:
        self._runtime = runtime
        self._calls = calls
        self._pending_requests = pending_requests
        self._connections = connections

    def on_message(self, session_key: str, message: Mapping[str, Any]) -> None:
        ((kind, content),) = message.items()
        if kind == "answer":
            self._pending_requests.answer_here(session_key, jsonrpc.Response(**content))
        elif kind == "progress":
            self._pending_requests.progress_here(session_key, content)
        elif kind == "cancel":
            self._calls.cancel_here(session_key, **content)
        elif kind == "notice":
            self._connections.notice(session_key, Notice(**content))
        elif kind == "rotated":
            self._runtime.spawn(self._send_rotated(session_key), "rotated")
        elif kind == "close":
            self._connections.displace(**content)

    def on_end(self, session_key: str, reason: str) -> None:
        """Close what the session has open here and cancel what it has running here."""
        self._calls.end_session(session_key, reason)
        self._connections.end_session(session_key, reason)

    async def _send_rotated(self, session_key: str) -> None:
        load = partial(get_store().aload_by_key, session_key)
        session = await with_retry(load, f"the client of session {session_key} gets its new id later")
        if session is not None:
            self._calls.rotate(session)
            self._connections.rotate(session, current_id(session))
