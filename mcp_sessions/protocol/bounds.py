"""How large may be what a client names or says of itself: it is repeated in events, stored, or logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import progress_token_from_params

from mcp_sessions import jsonrpc
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Exchange
from mcp_sessions.jsonrpc import Message, Notification, Request, Response

REASON: Final = 200
"""Characters of the reason that a client gives for a cancellation; the rest is cut."""


def check_head(exchange: Exchange, limit: int) -> None:
    """Raises RequestError 431 for a request whose headers and query string have more bytes."""
    size = len(exchange.query_string) + sum(
        len(name) + len(value) for name, value in exchange.headers.items()
    )
    if size > limit:
        raise RequestError(431, f"The headers and the query string have more than {limit} bytes.")


def check_names(messages: Iterable[Message], limit: int) -> None:
    """Raises RequestError 400 for a method, an id or a progress token with more characters."""
    for message in messages:
        if isinstance(message, Request | Notification) and len(message.method) > limit:
            raise RequestError(400, f"A method has at most {limit} characters.")
        if isinstance(message, Request):
            _check(message.id, limit, "The id of a request")
            _check(progress_token_from_params(message.params), limit, "A progress token")


def _check(name: object, limit: int, what: str) -> None:
    # A number is as long as it is written.
    if isinstance(name, str | int) and len(str(name)) > limit:
        raise RequestError(400, f"{what} has at most {limit} characters.")


def check_answers(messages: Iterable[Message], body: bytes, limit: int) -> None:
    """Raises RequestError 413 for a client's answer that is too large to be kept for whoever waits."""
    if len(body) <= limit:
        return
    for message in messages:
        if isinstance(message, Response) and len(jsonrpc.encode([message.result, message.error])) > limit:
            raise RequestError(413, f"The answer to a request of the server has at most {limit} bytes.")


def cut_reason(params: Mapping[str, Any]) -> str:
    """Why a client cancels, in so few words that they can be kept."""
    reason = params.get("reason")
    return reason[:REASON] if isinstance(reason, str) else ""


def check_uri(uri: str, limit: int) -> None:
    """Raises MCPError for the URI of a subscription that has more characters."""
    if len(uri) > limit:
        raise past_limit("uri_length", limit, "A URI has at most {} characters.")


def past_limit(reason: str, limit: int | None, text: str) -> MCPError:
    """The error for what exceeds a limit, which `text` has a place for."""
    return MCPError(jsonrpc.INVALID_PARAMS, text.format(limit), {"reason": reason, "limit": limit})


def check_client(learned: Mapping[str, Any], limit: int) -> None:
    """Raises MCPError if a client says more about itself than its session is to keep."""
    if len(jsonrpc.encode(learned)) > limit:
        text = "What the client says about itself exceeds {} bytes."
        raise past_limit("client_too_large", limit, text)
