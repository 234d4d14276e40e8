"""SESSION_DEBUG: one line for each request, with what became of it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from mcp_sessions.delivery import get_hub
from mcp_sessions.exchange import EventStream, Exchange, Reply
from mcp_sessions.logs import NONE, Trace, tracing

logger = logging.getLogger("mcp_sessions.requests")

METHODS: Final = frozenset({"GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "PATCH"})
METHOD: Final = re.compile(r"[a-z]+(/[A-Za-z_]+)*")
REVISION: Final = re.compile(r"\d{4}-\d\d-\d\d")
MAX_LENGTH: Final = 64
OTHER: Final = "other"
"""For what clients wrote: it may be anything, a session id too."""
TEXT: Final = (
    "%(method)s %(mcp_server)s %(mcp_method)s: %(mcp_status)d %(mcp_reply)s in %(mcp_milliseconds).1f ms, "
    "session %(mcp_session)s by %(mcp_named_by)s, reason %(mcp_reason)s, revision %(mcp_revision)s, "
    "worker %(mcp_worker)s"
)


async def traced(exchange: Exchange, answer: Callable[[Exchange], Awaitable[Reply]]) -> Reply:
    """Answer, and log how. The milliseconds are those until the answer's head: a stream goes on."""
    began = time.perf_counter()
    with tracing() as trace:
        reply = await answer(exchange)
    fields = _fields(exchange, reply, trace)
    fields["mcp_milliseconds"] = (time.perf_counter() - began) * 1000
    method = exchange.method if exchange.method in METHODS else OTHER
    logger.debug(TEXT, {**fields, "method": method}, extra=fields)
    return reply


def _fields(exchange: Exchange, reply: Reply, trace: Trace) -> dict[str, Any]:
    session = trace.session
    revision = session.protocol_version if session else exchange.headers.get("mcp-protocol-version", "")
    return {
        "mcp_event": "request",
        "mcp_session": session.key if session else NONE,
        "mcp_server": exchange.endpoint,
        "mcp_method": _methods(trace.messages),
        "mcp_status": reply.status,
        "mcp_reply": _kind(reply),
        "mcp_named_by": trace.named_by or NONE,
        "mcp_reason": trace.reason or NONE,
        "mcp_revision": revision if REVISION.fullmatch(revision) else NONE,
        "mcp_worker": get_hub().worker_name,
    }


def _kind(reply: Reply) -> str:
    if isinstance(reply, EventStream):
        return "stream"
    return "json" if reply.body else "empty"


def _methods(messages: Sequence[object]) -> str:
    """Of a batch the first one's, and how many more there are."""
    if not messages:
        return NONE
    method = getattr(messages[0], "method", "response")
    shown = method if len(method) <= MAX_LENGTH and METHOD.fullmatch(method) else OTHER
    return f"{shown} +{len(messages) - 1}" if len(messages) > 1 else shown
