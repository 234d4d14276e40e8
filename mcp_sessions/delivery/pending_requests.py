"""Requests of this process's tools to their clients, which wait for an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context, copy_context
from datetime import timedelta
from functools import partial
from typing import Any, Final

from django.utils import timezone

from mcp_sessions import jsonrpc
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.delivery.retry import with_retry
from mcp_sessions.exceptions import StoreUnavailable, TooManyPendingRequests
from mcp_sessions.identifiers import is_request_id
from mcp_sessions.isolation import isolated
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

LATE_SECONDS: Final = 60.0
"""How much longer the store keeps a request that nobody has dropped: clocks differ."""
PROGRESS: Final = 1000
"""Characters of a client's message about its progress; the rest is cut."""

OnProgress = Callable[[float, float | None, str | None], Awaitable[None]]
Pending = tuple["asyncio.Future[jsonrpc.Response]", OnProgress | None, Context]
"""The future of the answer, who gets the progress, and in which context."""


class PendingRequests:
    """By session and id of the request: an answer of another session matches none."""

    def __init__(self, runtime: Runtime, inboxes: Inboxes) -> None:
        self._runtime = runtime
        self._inboxes = inboxes
        self._pending: dict[tuple[str, object], Pending] = {}

    async def add(
        self, session: SessionRecord, request_id: str, seconds: float, on_progress: OnProgress | None = None
    ) -> asyncio.Future[jsonrpc.Response]:
        """A future for the client's answer to a request of ours; discard() the request when done.

        Other processes take an answer only if the store has the request. Raises TooManyPendingRequests,
        SessionEnded and StoreUnavailable.
        """
        answer: asyncio.Future[jsonrpc.Response] = self._runtime.loop.create_future()
        self._pending[session.key, request_id] = answer, on_progress, copy_context()
        until = timezone.now() + timedelta(seconds=seconds + LATE_SECONDS)
        limit = AppSettings(session.server).MAX_REQUESTS_TO_CLIENT
        add = partial(get_store().aadd_request, session.key, request_id, until, limit)
        if not await with_retry(add, "a request to a client waits"):
            raise TooManyPendingRequests(f"The client has not answered {limit} other requests.")
        return answer

    def discard(self, session_key: str, request_id: str) -> None:
        self._pending.pop((session_key, request_id), None)
        if not self._runtime.is_over:
            self._runtime.spawn(self._drop(session_key, request_id), "pending request")

    async def _drop(self, session_key: str, request_id: str) -> None:
        drop = partial(get_store().adrop_request, session_key, request_id)
        try:
            await with_retry(drop, "an answered request waits to be dropped")
        except StoreUnavailable as error:
            logger.warning("a request to a client is dropped only when its time is over: %s", error)

    async def answer(self, session_key: str, response: jsonrpc.Response) -> None:
        """Hand the client's answer to the tool that waits for it, in this process or another."""
        if not self.answer_here(session_key, response) and is_request_id(response.id):
            content = {"id": response.id, "result": response.result, "error": response.error}
            await self._inboxes.post(session_key, {"answer": content}, str(response.id), answers=True)

    def answer_here(self, session_key: str, response: jsonrpc.Response) -> bool:
        future, *_ = self._find(session_key, response.id)
        if future is not None and not future.done():
            future.set_result(response)
        return future is not None

    async def progress(self, session_key: str, params: Mapping[str, Any]) -> None:
        """Hand the client's progress on a request of ours to the tool that waits for it."""
        token = params.get("progressToken")
        if not self.progress_here(session_key, params) and is_request_id(token):
            await self._inboxes.post(session_key, {"progress": _short(params)}, str(token))

    def progress_here(self, session_key: str, params: Mapping[str, Any]) -> bool:
        future, on_progress, context = self._find(session_key, params.get("progressToken"))
        if on_progress is not None and isinstance(params.get("progress"), int | float):
            # A tool's own function: it may take its time, or fail, and the client's POST is not to.
            self._runtime.spawn(_report(on_progress, params), "progress", context)
        return future is not None

    def _find(self, session_key: str, request_id: object) -> Pending | tuple[None, None, None]:
        found = self._pending.get((session_key, request_id)) if isinstance(request_id, str) else None
        return found or (None, None, None)


def _short(params: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a client's progress that are handed on."""
    numbers = {name: params.get(name) for name in ("progress", "total")}
    content = {name: value for name, value in numbers.items() if isinstance(value, int | float)}
    message = params.get("message")
    return {
        "progressToken": params["progressToken"],
        **content,
        "message": message[:PROGRESS] if isinstance(message, str) else None,
    }


async def _report(on_progress: OnProgress, params: Mapping[str, Any]) -> None:
    await isolated(on_progress(params["progress"], params.get("total"), params.get("message")))
