"""What tools of this process have asked their clients, and wait to be answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context, copy_context
from typing import Any

from mcp_sessions import jsonrpc
from mcp_sessions.delivery.inboxes import Inboxes
from mcp_sessions.identifiers import is_request_id
from mcp_sessions.isolation import isolated
from mcp_sessions.runtime import Runtime

OnProgress = Callable[[float, float | None, str | None], Awaitable[None]]
Asked = tuple["asyncio.Future[jsonrpc.Response]", OnProgress | None, Context]
"""Whom the answer wakes up, whom progress is reported to, and in which context."""


class Questions:
    """By session and id of our request: another session's answer is nobody's."""

    def __init__(self, runtime: Runtime, inboxes: Inboxes) -> None:
        self._runtime = runtime
        self._inboxes = inboxes
        self._asked: dict[tuple[str, object], Asked] = {}

    def ask(
        self, session_key: str, request_id: str, on_progress: OnProgress | None = None
    ) -> asyncio.Future[jsonrpc.Response]:
        """Wait for the client's answer to a request of ours; discard() it when done."""
        asked: asyncio.Future[jsonrpc.Response] = self._runtime.loop.create_future()
        self._asked[session_key, request_id] = asked, on_progress, copy_context()
        return asked

    def discard(self, session_key: str, request_id: str) -> None:
        self._asked.pop((session_key, request_id), None)

    async def answer(self, session_key: str, response: jsonrpc.Response) -> None:
        """Hand the client's answer to whoever asked, here or elsewhere; harmless if nobody did."""
        if not self.answer_here(session_key, response) and is_request_id(response.id):
            told = {"id": response.id, "result": response.result, "error": response.error}
            await self._inboxes.post(session_key, {"answer": told})

    def answer_here(self, session_key: str, response: jsonrpc.Response) -> bool:
        asked, *_ = self._asked_for(session_key, response.id)
        if asked is not None and not asked.done():
            asked.set_result(response)
        return asked is not None

    async def progress(self, session_key: str, params: Mapping[str, Any]) -> None:
        """Hand the client's progress on a request of ours to whoever asked for it."""
        if not self.progress_here(session_key, params) and is_request_id(params.get("progressToken")):
            await self._inboxes.post(session_key, {"progress": dict(params)})

    def progress_here(self, session_key: str, params: Mapping[str, Any]) -> bool:
        asked, on_progress, context = self._asked_for(session_key, params.get("progressToken"))
        if on_progress is not None and isinstance(params.get("progress"), int | float):
            # A tool's own function: it may take its time, or fail, and the client's POST is not to.
            self._runtime.spawn(_report(on_progress, params), "progress", context)
        return asked is not None

    def _asked_for(self, session_key: str, request_id: object) -> Asked | tuple[None, None, None]:
        found = self._asked.get((session_key, request_id)) if isinstance(request_id, str) else None
        return found or (None, None, None)


async def _report(on_progress: OnProgress, params: Mapping[str, Any]) -> None:
    await isolated(on_progress(params["progress"], params.get("total"), params.get("message")))
