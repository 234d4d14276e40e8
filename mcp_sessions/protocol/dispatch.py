"""One message through the SDK: its server object, a connection rebuilt from the session, our call."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import anyio
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext

from mcp_sessions import jsonrpc
from mcp_sessions.delivery import Hub
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal
from mcp_sessions.protocol.call import Call, Standalone, public_headers, starlette_request
from mcp_sessions.protocol.callers import calling
from mcp_sessions.protocol.clients import parsed_clients
from mcp_sessions.protocol.permitting import guarded
from mcp_sessions.protocol.servers import PreparedServer
from mcp_sessions.protocol.threads import own_thread
from mcp_sessions.records import SessionRecord
from mcp_sessions.state import SessionState, current_session

logger = logging.getLogger("mcp_sessions.protocol")


async def serve_request(
    server: PreparedServer, hub: Hub, call: Call, request: jsonrpc.Request
) -> dict[str, Any]:
    """The result of a request. Raises what the handler raises."""
    connection = _connection(call.session, Standalone(hub, call.session, call))
    runner = ServerRunner(server.low, connection, server.lifespan_state, init_options=server.init_options)
    with call_context(call.session, call.principal, guarded(server.guard, call.principal, call.hidden)):
        async with own_thread():
            try:
                return await runner.on_request(call, request.method, request.params)
            finally:
                await _leave(connection)


async def serve_notification(
    server: PreparedServer,
    hub: Hub,
    session: SessionRecord,
    exchange: Exchange,
    message: jsonrpc.Notification,
) -> None:
    """Hand a notification to the server's handler, if it has one; errors are logged, not answered."""
    connection = _connection(session, Standalone(hub, session, None))
    runner = ServerRunner(server.low, connection, server.lifespan_state, init_options=server.init_options)
    with call_context(session, exchange.principal):
        async with own_thread():
            try:
                await runner.on_notify(NoBackChannel(exchange), message.method, message.params)
            finally:
                await _leave(connection)


async def initialize(
    server: PreparedServer, exchange: Exchange, request: jsonrpc.Request
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answer `initialize`; (its result, what the session keeps of it). Raises what the SDK raises."""
    context = NoBackChannel(exchange, request.id)
    connection = Connection.for_loop(context)
    runner = ServerRunner(server.low, connection, server.lifespan_state, init_options=server.init_options)
    with call_context(None, exchange.principal):
        async with own_thread():
            try:
                result = await runner.on_request(context, request.method, request.params)
            finally:
                await _leave(connection)
    assert connection.client_params is not None  # set by the SDK with every result
    params = connection.client_params.model_dump(by_alias=True, mode="json", exclude_none=True)
    return result, {
        "protocol_version": connection.protocol_version,
        "client": params["clientInfo"],
        "capabilities": params["capabilities"],
    }


async def _leave(connection: Connection) -> None:
    """Do what was left to be done with the connection: nearly always that is nothing, and costs nothing."""
    if connection.exit_stack._exit_callbacks:  # type: ignore[attr-defined]
        await aclose_shielded(connection)


class NoBackChannel:
    """The dispatch context of a message for which nothing can be sent to the client."""

    can_send_request = False

    def __init__(self, exchange: Exchange, request_id: jsonrpc.RequestId | None = None) -> None:
        self.request_id = request_id
        self.cancel_requested = anyio.Event()
        headers = public_headers(exchange)
        self.transport = TransportContext(kind="streamable-http", can_send_request=False, headers=headers)
        self.message_metadata = ServerMessageMetadata(
            request_context=starlette_request(exchange, headers), can_send_request=False
        )

    async def send_raw_request(self, method: str, params: Any, opts: Any = None) -> dict[str, Any]:
        raise NoBackChannelError(method)

    async def notify(self, method: str, params: Any, opts: Any = None) -> None:
        logger.debug("%s dropped: sent while nothing can be sent", method)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """A notification has no progress token."""


@contextmanager
def call_context(
    session: SessionRecord | None, principal: Principal, *more: AbstractContextManager[Any]
) -> Iterator[None]:
    """The context variables that a server library, get_session() and get_principal() find around a call."""
    with ExitStack() as stack:
        if "fastmcp" in sys.modules:
            from mcp_sessions.protocol import fastmcp

            stack.enter_context(fastmcp.transport())
        token = current_session.set(None if session is None else SessionState(session, principal))
        stack.callback(current_session.reset, token)
        for each in (calling(principal), *more):
            stack.enter_context(each)
        yield


def _connection(session: SessionRecord, outbound: Standalone) -> Connection:
    metadata = session.metadata
    connection = Connection(
        outbound,
        protocol_version=session.protocol_version,
        session_id=session.key,
        client_params=parsed_clients.get(session),
    )
    # A session of the guide's is usable at once; the gate of the others opens with `initialize`.
    if metadata.get("initialized") or session.dialect == "guide":
        connection.initialized.set()
    return connection
