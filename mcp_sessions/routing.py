"""The ASGI mount: the endpoints' requests to the protocol, everything else to Django.

In asgi.py: `application = mount(get_asgi_application())`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from django.core.checks import ERROR
from starlette.middleware.cors import CORSMiddleware

from mcp_sessions.asgi import (
    ENDPOINT,
    QUERY,
    SSE_PATH,
    Receive,
    Scope,
    Send,
    mounts,
    normalized,
    path_within,
    read_body,
    send_reply,
    to_exchange,
)
from mcp_sessions.backpressure import SENDING, Sending, watch
from mcp_sessions.checks import check_configuration
from mcp_sessions.conf import AppSettings, served_paths, sse_paths
from mcp_sessions.consumers import StreamConsumer
from mcp_sessions.exceptions import ConfigurationError, RequestError
from mcp_sessions.exchange import Answer
from mcp_sessions.lifecycle import keep_counting, look_for_migrations
from mcp_sessions.protocol.answers import refusal
from mcp_sessions.protocol.endpoint import handle
from mcp_sessions.protocol.metadata import describe
from mcp_sessions.protocol.routes import application_for, prepare_routes
from mcp_sessions.protocol.servers import prepare_all
from mcp_sessions.runtime import Runtime, adopt, current
from mcp_sessions.security.authentication import get_authenticators
from mcp_sessions.security.redaction import redact_daphne, redact_query
from mcp_sessions.security.wellknown import described_endpoint
from mcp_sessions.stopping import drain_before_stopping
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.routing")

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def mount(django: Application) -> Application:
    """An ASGI application that serves the endpoints of MCP_SESSIONS and hands all else to `django`.

    Raises ConfigurationError when MCP_SESSIONS cannot work: uvicorn and Daphne run no checks.
    """
    _check()
    endpoints = {path: _with_cors(path) for path in served_paths()}
    old_paths = sse_paths()
    through_django = _with_whole_body(django)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        await _start()
        path, own = path_within(scope), _take_over(scope)
        endpoint = old_paths.get(path, path)
        if endpoint not in endpoints:
            await (_other_application(own, path) or django)(own, receive, send)
        elif scope["type"] == "websocket":
            await _refuse_websocket(receive, send)
        else:
            own[ENDPOINT], own[QUERY] = endpoint, own.get("query_string", b"")
            own[SSE_PATH] = path if path in old_paths else ""
            own["query_string"] = scope.get("query_string", b"")
            serving = through_django if _is_for_django(scope, endpoint) else endpoints[endpoint]
            await _serve_with_backpressure(serving, own, receive, send)

    mounts.add(application)
    return application


def _take_over(scope: Scope) -> Scope:
    """The scope to serve. In the server's own, which it logs, the query names no session any more."""
    own = normalized(scope) if scope["type"] == "http" else dict(scope)
    if scope.get("query_string"):
        scope["query_string"] = redact_query(scope["query_string"].decode("latin-1")).encode("latin-1")
    return own


def _other_application(scope: Scope, path: str) -> Application | None:
    """What answers a request besides the endpoints: the metadata of one, or a route of a server object."""
    return (_metadata(scope, path) or application_for(scope, path)) if scope["type"] == "http" else None


def _metadata(scope: Scope, path: str) -> Application | None:
    """What answers requests for the metadata of an endpoint; None if the path is no such one's."""
    described = described_endpoint(path, scope.get("root_path", ""))
    if described is None:
        return None
    asked = {**scope, ENDPOINT: described, QUERY: b"", "path": scope["root_path"] + described}

    async def metadata(_: Scope, receive: Receive, send: Send) -> None:
        await send_reply(describe(to_exchange(asked)), send)

    return metadata


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    """An endpoint speaks HTTP alone: the server answers such a handshake 403."""
    await receive()
    await send({"type": "websocket.close"})


async def _serve_with_backpressure(
    application: Application, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve one request of a client that may read slowly, or not at all."""
    host, *_ = scope.get("client") or ("?",)
    scope[SENDING] = sending = Sending(send, AppSettings(scope[ENDPOINT]).STALL_SECONDS, host)
    with suppress(ConnectionAbortedError):
        await application(scope, receive, sending)
        await sending.finish()


def _check() -> None:
    found = [error for error in check_configuration() if error.level >= ERROR]
    if found:
        raise ConfigurationError(" ".join(f"{error.msg.rstrip('.')}. {error.hint}" for error in found))


def _with_cors(path: str) -> Application:
    """The endpoint, for pages of the allowed origins too; origins themselves are checked behind it."""

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await _stream_consumer(scope, receive, send)
        else:
            await _serve(scope, receive, send)

    allowed = list(AppSettings(path).ALLOWED_ORIGINS)
    if not allowed:
        return endpoint
    return CORSMiddleware(
        endpoint,
        allow_origins=allowed,
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],
        allow_credentials="*" not in allowed and any(each.uses_cookies for each in get_authenticators(path)),
        expose_headers=["Mcp-Session-Id", "Retry-After", "WWW-Authenticate"],
    )


_stream_consumer: Any = StreamConsumer.as_asgi()


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a POST or DELETE; a stream ends when its client leaves, its call goes on."""
    if (body := await _body(scope, receive, send)) is None:
        return
    reply = await handle(to_exchange(scope, body))
    watch(scope, reply)
    if isinstance(reply, Answer):
        await send_reply(reply, send)
        return
    sending = asyncio.ensure_future(send_reply(reply, send))
    leaving = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.wait({sending, leaving})


async def _body(scope: Scope, receive: Receive, send: Send) -> bytes | None:
    """The request's body; None if it was refused, and the client has the answer."""
    options = AppSettings(scope[ENDPOINT])
    try:
        return await read_body(scope, receive, options.MAX_BODY_BYTES, options.BODY_SECONDS)
    except RequestError as error:
        await send_reply(refusal(error), send)
        return None


def _with_whole_body(django: Application) -> Application:
    """Django, which waits for a body without end: it is asked when the body is there."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if (body := await _body(scope, receive, send)) is None:
            return
        messages = [{"type": "http.request", "body": body}]

        async def receive_again() -> MutableMapping[str, Any]:
            return messages.pop() if messages else await receive()

        await django(scope, receive_again, send)

    return application


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _start() -> None:
    """Adopt the server's loop at the first sign of life; Daphne has no lifespan."""
    runtime = adopt()
    if not runtime.is_started:
        redact_daphne()
        if not get_store().shared_by_processes:
            logger.warning(
                "sessions are in this process's memory: no other process serves them, and they end with it"
            )
        drain_before_stopping(runtime)
        await prepare(runtime)
        keep_counting()
        look_for_migrations()
        gc.collect()
        gc.freeze()  # what is there now stays: the collector need not look at it again


async def prepare(runtime: Runtime) -> None:
    """Make the server objects ready to serve, once; what else a process does at its start a test need not."""
    if not runtime.is_started:
        runtime.is_started = True
        await prepare_all()
        prepare_routes()


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    adopt().has_lifespan = True
    try:
        await _start()
    except Exception as error:
        # The server prints the message alone; what a server object's module did wrong is in the traceback.
        logger.exception("the endpoints cannot be served")
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await current().shutdown()
    await send({"type": "lifespan.shutdown.complete"})


def _is_for_django(scope: Scope, path: str) -> bool:
    return bool(AppSettings(path).POST_THROUGH_DJANGO) and scope["method"] in {"POST", "DELETE"}
