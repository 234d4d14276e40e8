"""Requests to clients that tools wait to be answered."""

from __future__ import annotations

from datetime import datetime

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, verb


class RequestVerbs(RunsSteps):
    @verb
    def add_request(self, key: str, request: str, until: datetime, limit: int | None) -> Steps[bool]:
        answer = yield from ask(self, "add_request", key, request, until, limit)
        if answer is None:
            raise SessionEnded("The session has ended: its client is sent no request.")
        return bool(answer)

    @verb
    def drop_request(self, key: str, request: str) -> Steps[None]:
        yield from ask(self, "drop_request", key, request)
