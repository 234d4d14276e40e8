"""Server objects: loaded by dotted path, prepared once per process, their lifespan held open.

A prepared server is a shallow copy of the author's low-level server with what sessions need
added; the author's object itself is not changed (a FastMCP server gets a transform), and tools added to it
later appear.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.mcpserver import MCPServer
from mcp.server.models import InitializationOptions
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import SubscriptionBus
from mcp.server.transport_security import TransportSecuritySettings

from mcp_sessions.conf import AppSettings, served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.isolation import isolated
from mcp_sessions.protocol import (
    client_requests,
    features,
    guarding,
    handletools,
    idempotent_calls,
    mcpserver,
    outages,
    requeststate,
    subscriptions,
    suspended_calls,
    watching,
)
from mcp_sessions.protocol.guarding import Guard
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.security.authentication import get_authenticators


@dataclass(frozen=True, slots=True)
class PreparedServer:
    """A server object ready to be dispatched to."""

    low: Server[Any]
    init_options: InitializationOptions
    lifespan_state: Any
    modern: StreamableHTTPSessionManager
    """The SDK's own entry for revisions without sessions."""
    guard: Guard
    """Who may use what of it."""
    modern_body: StreamableHTTPSessionManager
    """The same entry for where no stream can be answered: everything in the body."""


class Servers:
    """The process's prepared servers, each made at its first use."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._prepared: dict[str, asyncio.Task[PreparedServer]] = {}
        self._lifespans: dict[int, asyncio.Task[Any]] = {}
        """By the id of the author's object, which may be served at more than one path."""

    async def get(self, endpoint: str) -> PreparedServer:
        """The server at an endpoint's path. Raises ConfigurationError if it cannot be loaded."""
        if endpoint not in self._prepared:
            self._prepared[endpoint] = asyncio.ensure_future(self._prepare(endpoint))
        try:
            return await asyncio.shield(self._prepared[endpoint])
        except Exception:
            # Whatever kept it from starting may be gone at the next request.
            self._prepared.pop(endpoint, None)
            raise

    async def _prepare(self, endpoint: str) -> PreparedServer:
        author = load(served_paths()[endpoint])
        low = _copy(lowlevel(author))
        bus = subscriptions.add(author, low, endpoint, self._runtime)
        _wrap_components(author, low, endpoint, bus)
        features.add(low)
        watching.add(low, endpoint)
        guard = Guard(author, endpoint)
        idempotent_calls.add(low, endpoint, guard.find_tool)
        handletools.add(low, endpoint)
        guarding.install(low, guard)
        state = await self._enter_lifespan(author, low)
        modern, modern_body = (_modern_entry(low, state, endpoint, in_body=each) for each in (False, True))
        await self._runtime.hold(modern.run())
        await self._runtime.hold(modern_body.run())
        options = low.create_initialization_options(_ALL_CHANGES)
        return PreparedServer(low, options, state, modern, guard, modern_body)

    async def _enter_lifespan(self, author: Any, low: Server[Any]) -> Any:
        if id(author) not in self._lifespans:
            entering = isolated(self._runtime.hold(low.lifespan(low)))
            self._lifespans[id(author)] = asyncio.ensure_future(entering)
        try:
            return await asyncio.shield(self._lifespans[id(author)])
        except Exception:
            self._lifespans.pop(id(author), None)
            raise


_ALL_CHANGES = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)


async def get_server(endpoint: str) -> PreparedServer:
    return await current().service(Servers).get(endpoint)


async def prepare_all() -> None:
    """Prepare every server that is named, so that what is wrong is seen at the start."""
    for endpoint in served_paths():
        await get_server(endpoint)
        get_authenticators(endpoint)


def load(dotted_path: str) -> Any:
    """The object at `package.module:object` (or with a dot). Raises ConfigurationError."""
    module, _, name = dotted_path.partition(":") if ":" in dotted_path else dotted_path.rpartition(".")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"MCP_SESSIONS: the server object {dotted_path!r} cannot be loaded: {error}"
        ) from error
    lowlevel(found)
    return found


def lowlevel(author: Any) -> Server[Any]:
    """The low-level server inside an author's object. Raises ConfigurationError if there is none."""
    if isinstance(author, Server):
        return author
    if isinstance(author, MCPServer):
        return author._lowlevel_server
    inner = getattr(author, "_mcp_server", None)
    if isinstance(inner, Server):
        return inner
    raise ConfigurationError(
        f"MCP_SESSIONS: {author!r} is no server object. Name an MCPServer or Server of the official SDK, "
        "or a FastMCP server."
    )


def _copy(low: Server[Any]) -> Server[Any]:
    copied = copy.copy(low)
    copied._request_handlers = dict(low._request_handlers)
    known_code, suspend = client_requests.with_known_code, suspended_calls.suspend
    ours = (_isolate, outages.explain, known_code, suspend, outages.explain)
    copied.middleware = [*ours, *map(requeststate.shared, low.middleware)]
    # An empty version is none. FastMCP too says its own where the author has not said one.
    copied.version = low.version or version("mcp")
    return copied


def _wrap_components(author: Any, low: Server[Any], endpoint: str, bus: SubscriptionBus | None) -> None:
    if isinstance(author, MCPServer):
        mcpserver.wrap_components(author, low, bus)
    elif not isinstance(author, Server):
        from mcp_sessions.protocol import fastmcp  # only where FastMCP is installed

        fastmcp.wrap_components(author, endpoint)


async def _isolate(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Around handlers and the author's own middleware, in every revision: nothing of theirs ends a task."""
    return await isolated(call_next(ctx))


def _modern_entry(
    low: Server[Any], state: Any, endpoint: str, *, in_body: bool
) -> StreamableHTTPSessionManager:
    """The SDK's entry, with the lifespan that is already held, and hosts checked by us."""
    entered = copy.copy(low)
    entered.lifespan = _yielding(state)
    return StreamableHTTPSessionManager(
        entered,
        json_response=in_body,
        stateless=True,
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        max_request_body_size=AppSettings(endpoint).MAX_BODY_BYTES,
    )


def _yielding(state: Any) -> Callable[[Server[Any]], Any]:
    @asynccontextmanager
    async def lifespan(_: Server[Any]) -> AsyncIterator[Any]:
        yield state

    return lifespan
