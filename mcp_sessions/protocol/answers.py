"""Answers that are made in more than one place."""

from __future__ import annotations

import logging
from typing import Final

from mcp_sessions import jsonrpc
from mcp_sessions.exceptions import (
    RequestError,
    SessionEnded,
    SessionNotFound,
    StoreNotMigrated,
    StoreUnavailable,
)
from mcp_sessions.exchange import Answer, Exchange, Headers
from mcp_sessions.logs import note

logger = logging.getLogger("mcp_sessions.protocol")

JSON_HEADERS: Final[Headers] = (("Content-Type", "application/json"),)


def json_answer(message: jsonrpc.Json, status: int = 200, headers: Headers = ()) -> Answer:
    """One JSON-RPC message as the body."""
    return Answer(status, JSON_HEADERS + headers, jsonrpc.encode(message).encode())


def refusal(error: RequestError, request_id: jsonrpc.RequestId | None = None) -> Answer:
    """The answer to a request that is not served: never a bare page, which clients take for an old server."""
    note(reason=(error.data or {}).get("reason", f"error {error.code}"))
    body = jsonrpc.error(error.code, error.message, data=error.data, request_id=request_id)
    return json_answer(body, error.status, error.headers)


def error_for_client(exchange: Exchange, error: Exception) -> RequestError:
    """The error that a client gets; the log has details that are not for the client."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, SessionEnded):
        return SessionNotFound()
    if isinstance(error, StoreUnavailable):
        logger.error("answering 503: %s", error)
        return store_unavailable(error)
    logger.error("%s %s failed", exchange.method, exchange.endpoint, exc_info=error)
    return RequestError(500, "Internal server error", code=jsonrpc.INTERNAL_ERROR)


def store_unavailable(error: StoreUnavailable) -> RequestError:
    if isinstance(error, StoreNotMigrated):
        return unavailable("The session store is not set up.")
    return unavailable("The session store cannot be reached right now. Try again in a moment.")


def unavailable(message: str) -> RequestError:
    return RequestError(503, message, code=jsonrpc.INTERNAL_ERROR, headers=(("Retry-After", "1"),))


def stopping() -> RequestError:
    return unavailable("The server is stopping. Try again in a moment.")
