"""What tools of this process have asked their clients, and wait to be answered."""

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
"""How much later a question is forgotten that nobody has said to be answered: clocks differ."""
PROGRESS: Final = 1000
"""Characters of a client's message about its progress; the rest is cut."""

OnProgress = Callable[[float, float | None, str | None], Awaitable[None]]
Asked = tuple["asyncio.Future[jsonrpc.Response]", OnProgress | None, Context]
"""Whom the answer wakes up, whom progress is reported to, and in which context."""


class Questions:
    """By session and id of our request: another session's answer is nobody's."""

    def __init__(self, runtime: Runtime, inboxes: Inboxes) -> None:
        self._runtime = runtime
        self._inboxes = inboxes
        self._asked: dict[tuple[str, object], Asked] = {}

    async def ask(
        self, session: SessionRecord, request_id: str, seconds: float, on_progress: OnProgress | None = None
    ) -> asyncio.Future[jsonrpc.Response]:
        """Wait for so long for the client's answer to a request of ours; discard() it when done.

        Other processes take an answer only if they find the question in the store. Raises
        TooManyPendingRequests, SessionEnded and StoreUnavailable.
        """
        asked: asyncio.Future[jsonrpc.Response] = self._runtime.loop.create_future()
        self._asked[session.key, request_id] = asked, on_progress, copy_context()
        until = timezone.now() + timedelta(seconds=seconds + LATE_SECONDS)
        limit = AppSettings(session.server).MAX_REQUESTS_TO_CLIENT
        ask = partial(get_store().aadd_request, session.key, request_id, until, limit)
        if not await with_retry(ask, "a question to a client waits"):
            raise TooManyPendingRequests(f"The client has not answered {limit} other requests.")
        return asked

    def discard(self, session_key: str, request_id: str) -> None:
        self._asked.pop((session_key, request_id), None)
        if not self._runtime.is_over:
            self._runtime.spawn(self._forget(session_key, request_id), "question")

    async def _forget(self, session_key: str, request_id: str) -> None:
        forget = partial(get_store().adrop_request, session_key, request_id)
        try:
            await with_retry(forget, "a question that was answered waits to be forgotten")
        except StoreUnavailable as error:
            logger.warning("a question is forgotten only when its time is over: %s", error)

    async def answer(self, session_key: str, response: jsonrpc.Response) -> None:
        """Hand the client's answer to whoever asked, here or elsewhere; harmless if nobody did."""
        if not self.answer_here(session_key, response) and is_request_id(response.id):
            content = {"id": response.id, "result": response.result, "error": response.error}
            await self._inboxes.post(session_key, {"answer": content}, str(response.id), answers=True)

    def answer_here(self, session_key: str, response: jsonrpc.Response) -> bool:
        asked, *_ = self._asked_for(session_key, response.id)
        if asked is not None and not asked.done():
            asked.set_result(response)
        return asked is not None

    async def progress(self, session_key: str, params: Mapping[str, Any]) -> None:
        """Hand the client's progress on a request of ours to whoever asked for it."""
        token = params.get("progressToken")
        if not self.progress_here(session_key, params) and is_request_id(token):
            await self._inboxes.post(session_key, {"progress": _short(params)}, str(token))

    def progress_here(self, session_key: str, params: Mapping[str, Any]) -> bool:
        asked, on_progress, context = self._asked_for(session_key, params.get("progressToken"))
        if on_progress is not None and isinstance(params.get("progress"), int | float):
            # A tool's own function: it may take its time, or fail, and the client's POST is not to.
            self._runtime.spawn(_report(on_progress, params), "progress", context)
        return asked is not None

    def _asked_for(self, session_key: str, request_id: object) -> Asked | tuple[None, None, None]:
        found = self._asked.get((session_key, request_id)) if isinstance(request_id, str) else None
        return found or (None, None, None)


def _short(params: Mapping[str, Any]) -> dict[str, Any]:
    """What is handed on of a client's progress, whatever it has sent besides."""
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
