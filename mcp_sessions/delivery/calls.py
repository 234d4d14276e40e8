"""The calls that run in this process, and the streams that are theirs to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from mcp_sessions import jsonrpc
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.records import SessionRecord


class RunningCall(Protocol):
    """A call of a client that has not been answered yet."""

    def cancel(self, message: str, reason: str) -> None:
        """Stop it; its client is told the message, and the reason in the error's data."""


class Calls:
    """By session and request id. `streams` are those that a channel here still writes to."""

    def __init__(self, inboxes: Inboxes, on_over: Callable[[], None]) -> None:
        self._inboxes = inboxes
        self._on_over = on_over
        self._calls: dict[str, dict[jsonrpc.RequestId, RunningCall]] = {}
        self.streams: set[str] = set()

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[RunningCall]:
        return iter([call for calls in self._calls.values() for call in calls.values()])

    def register(self, session: SessionRecord, request_id: jsonrpc.RequestId, call: RunningCall) -> None:
        self._calls.setdefault(session.key, {})[request_id] = call
        self._inboxes.hold(session)

    def unregister(self, session: SessionRecord, request_id: jsonrpc.RequestId, call: RunningCall) -> None:
        calls = self._calls.get(session.key, {})
        if calls.get(request_id) is call:
            del calls[request_id]
        if not calls:
            self._calls.pop(session.key, None)
        self._inboxes.release(session.key)
        self._on_over()

    def is_running(self, session_key: str) -> bool:
        return session_key in self._calls

    async def cancel(self, session_key: str, request_id: Any, reason: str) -> None:
        """Cancel a running call, here or elsewhere; an unknown or finished one is nobody's error.

        Source: transport.md 3.
        """
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            return
        if not self.cancel_here(session_key, request_id, reason):
            await self._inboxes.post(session_key, {"cancel": {"request_id": request_id, "reason": reason}})

    def cancel_here(self, session_key: str, request_id: jsonrpc.RequestId, reason: str) -> bool:
        # 1 and "1" are two keys, as they should be.
        call = self._calls.get(session_key, {}).get(request_id)
        if call is not None:
            call.cancel(f"Request cancelled{f': {reason}' if reason else ''}", "cancelled")
        return call is not None

    def end_session(self, session_key: str, reason: str) -> None:
        for call in list(self._calls.get(session_key, {}).values()):
            call.cancel(f"The session has ended ({reason})", "session_ended")

    def cancel_all(self, message: str) -> None:
        """Their worker is no more, whatever they would say."""
        for call in self:
            call.cancel(message, "worker_lost")
