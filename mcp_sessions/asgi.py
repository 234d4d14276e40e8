"""Between ASGI and the exchange: what the mount and the consumer share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final
from weakref import WeakSet

from django.conf import settings
from django.http import HttpRequest

from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Answer, Exchange, Reply, header_map

logger = logging.getLogger("mcp_sessions.asgi")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ENDPOINT = "mcp_endpoint"
"""The scope's key that says which configured path was hit."""
SSE_PATH = "mcp_sse_path"
"""The scope's key that says which of the endpoint's SSE_PATHS was hit; "" for its own path."""
QUERY = "mcp_query_string"
"""The scope's key of the query string as it came; at its usual place it is redacted."""

CLOSE: Final = (("Connection", "close"),)
"""For answers to requests whose body is not read: else the server would wait for the rest of it."""

mounts: WeakSet[Any] = WeakSet()
"""What mount() has made in this process. Without any, nobody serves GET streams."""


def normalized(scope: Scope) -> Scope:
    """A copy of the scope in which its path has the script name, and header values have no whitespace.

    Daphne, and proxies that strip the prefix, leave the former out (Django's FORCE_SCRIPT_NAME then
    has it); httptools leaves the latter in.
    """
    prefix, path = _split(scope)
    headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
    return {**scope, "root_path": prefix, "path": prefix + path, "headers": headers}


def path_within(scope: Scope) -> str:
    """The path below the script name, as SERVERS has it."""
    return _split(scope)[1].rstrip("/") or "/"


def _split(scope: Scope) -> tuple[str, str]:
    prefix = (settings.FORCE_SCRIPT_NAME or scope.get("root_path", "")).rstrip("/")
    path = str(scope.get("path", ""))
    if path == prefix or path.startswith(f"{prefix}/"):
        path = path[len(prefix) :]
    return prefix, path


def to_exchange(scope: Mapping[str, Any], body: bytes = b"") -> Exchange:
    client = scope.get("client")
    sse_path = scope.get(SSE_PATH, "")
    return Exchange(
        method=scope["method"],
        endpoint=scope[ENDPOINT],
        path=scope["root_path"] + scope[ENDPOINT] if sse_path else scope["path"],
        sse_path=sse_path,
        headers=header_map(map(_decoded, scope["headers"])),
        query_string=scope[QUERY].decode("latin-1"),
        address=client[0] if client else "",
        scheme=scope.get("scheme", "http"),
        body=body,
    )


def query_of(request: HttpRequest) -> str:
    """The query string as it came, of a Django request, which may have a redacted one where it shows it."""
    query: bytes | None = getattr(request, "scope", {}).get(QUERY)
    return str(request.META.get("QUERY_STRING", "")) if query is None else query.decode("latin-1")


def _decoded(pair: tuple[bytes, bytes]) -> tuple[str, str]:
    return pair[0].decode("latin-1"), pair[1].decode("latin-1")


async def read_body(scope: Mapping[str, Any], receive: Receive, limit: int, seconds: float) -> bytes:
    """The request's body. Raises RequestError 413 as soon as it is known to be too large, 408 if it does not
    arrive in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _read_body(scope, receive, limit)
    except TimeoutError:
        raise RequestError(
            408, f"The body did not arrive within {seconds:g} seconds.", headers=CLOSE
        ) from None


async def _read_body(scope: Mapping[str, Any], receive: Receive, limit: int) -> bytes:
    too_large = RequestError(413, f"The body has more than {limit} bytes.", headers=CLOSE)
    length = dict(scope["headers"]).get(b"content-length", b"0")
    # int() itself refuses thousands of digits.
    if length.isdigit() and (len(length) > 18 or int(length) > limit):
        raise too_large
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError(400, "The connection was closed before the body was complete.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise too_large
        if not message.get("more_body"):
            return b"".join(parts)


async def send_reply(reply: Reply, send: Send) -> None:
    """Send a whole reply; a stream is closed in the end, whatever happened."""
    try:
        await _send_reply(reply, send)
    except ConnectionAbortedError:
        """It was cut by us, which a log line says."""


async def _send_reply(reply: Reply, send: Send) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if isinstance(reply, Answer):
        headers.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        return
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        # Daphne keeps the head until there is a body: a stream may have nothing to say for long.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        async for chunk in reply.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except ConnectionAbortedError:
        raise
    except Exception:
        # The client comes back for the rest; a connection left open would keep it waiting.
        logger.exception("a stream was cut short")
    finally:
        await reply.chunks.aclose()
    await send({"type": "http.response.body", "body": b""})
