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

    def give_up(self) -> None:
        """Answer a cancelled call that does not stop, as if it had stopped."""


class Calls:
    """By session and request id, which several may have.

    `streams` are those that a channel here still writes to.
    """

    def __init__(self, inboxes: Inboxes, on_over: Callable[[], None]) -> None:
        self._inboxes = inboxes
        self._on_over = on_over
        self._calls: dict[str, dict[jsonrpc.RequestId, set[RunningCall]]] = {}
        self.streams: set[str] = set()

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[RunningCall]:
        return iter([call for session_key in self._calls for call in self._of_session(session_key)])

    def register(self, session: SessionRecord, request_id: jsonrpc.RequestId, call: RunningCall) -> None:
        self._calls.setdefault(session.key, {}).setdefault(request_id, set()).add(call)
        self._inboxes.hold(session)

    def unregister(self, session: SessionRecord, request_id: jsonrpc.RequestId, call: RunningCall) -> None:
        calls = self._calls[session.key]
        calls[request_id].remove(call)
        if not calls[request_id]:
            del calls[request_id]
        if not calls:
            del self._calls[session.key]
        self._inboxes.release(session.key)
        self._on_over()

    def is_running(self, session_key: str) -> bool:
        return session_key in self._calls

    async def cancel(self, session_key: str, request_id: Any, reason: str) -> None:
        """Cancel the running calls with this id, here or elsewhere; that there is none is nobody's error.

        Source: transport.md 3.
        """
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            return
        if not self.cancel_here(session_key, request_id, reason):
            await self._inboxes.post(session_key, {"cancel": {"request_id": request_id, "reason": reason}})

    def cancel_here(self, session_key: str, request_id: jsonrpc.RequestId, reason: str) -> bool:
        # 1 and "1" are two keys, as they should be.
        calls = list(self._calls.get(session_key, {}).get(request_id, ()))
        for call in calls:
            call.cancel(f"Request cancelled{f': {reason}' if reason else ''}", "cancelled")
        return bool(calls)

    def end_session(self, session_key: str, reason: str) -> None:
        for call in self._of_session(session_key):
            call.cancel(f"The session has ended ({reason})", "session_ended")

    def cancel_all(self, message: str) -> None:
        """Their worker is no more, whatever they would say."""
        for call in self:
            call.cancel(message, "worker_lost")

    def give_up(self) -> None:
        """Answer those that were cancelled and do not stop."""
        for call in self:
            call.give_up()

    def _of_session(self, session_key: str) -> list[RunningCall]:
        return [call for calls in self._calls.get(session_key, {}).values() for call in calls]
