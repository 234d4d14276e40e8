"""The routes that a server object brings: its authorization server's, and those of `custom_route`.

The libraries serve them from ASGI applications of their own: `streamable_http_app()` of the official SDK,
`http_app()` of FastMCP. The mount hands requests for them to such an application, none for the endpoint.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mcp.server.mcpserver import MCPServer
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match

from mcp_sessions.asgi import ENDPOINT, QUERY, Receive, Scope, Send, send_reply, to_exchange
from mcp_sessions.conf import served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.protocol.answers import error_for_client, refusal
from mcp_sessions.protocol.servers import load
from mcp_sessions.runtime import Runtime, current, run
from mcp_sessions.security.wellknown import WELL_KNOWN
from mcp_sessions.throttling import limit_address


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes of one server object, and the application that serves them."""

    endpoint: str
    application: Starlette
    routes: list[BaseRoute]

    def has(self, scope: Scope, path: str) -> bool:
        asked = {**scope, "path": path, "root_path": ""}
        return any(route.matches(asked)[0] != Match.NONE for route in self.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, which counts for its address as one to the endpoint does."""
        exchange = to_exchange({**scope, ENDPOINT: self.endpoint, QUERY: b""})
        try:
            await run(limit_address(exchange))
        except Exception as error:
            await send_reply(refusal(error_for_client(exchange, error)), send)
        else:
            await self.application(scope, receive, send)


class ServerRoutes:
    """What the server objects of a process serve besides the endpoints, once prepared."""

    def __init__(self, _: Runtime) -> None:
        self._served: list[Routes] = []

    def prepare(self) -> None:
        """Make the applications. Raises ConfigurationError if two servers have a route at one path."""
        for problem in clashes():
            raise ConfigurationError(problem)
        found = {path: _application(path) for path in served_paths()}
        served = [
            Routes(path, made, own_routes(made, path)) for path, made in found.items() if made is not None
        ]
        self._served = [each for each in served if each.routes]

    def application_for(self, scope: Scope, path: str) -> Routes | None:
        """What has a route for the request, at this path below the script name."""
        return next((each for each in self._served if each.has(scope, path)), None)


def prepare_routes() -> None:
    """Serve the routes of every server that is named. Raises ConfigurationError."""
    current().service(ServerRoutes).prepare()


def application_for(scope: Scope, path: str) -> Routes | None:
    """The routes of a server object that serve this request, if one's do."""
    return current().service(ServerRoutes).application_for(scope, path)


def paths_of(endpoint: str) -> list[str]:
    """The paths of an endpoint's server object's own routes. Raises ConfigurationError."""
    application = _application(endpoint)
    routes = [] if application is None else own_routes(application, endpoint)
    return list(dict.fromkeys(getattr(route, "path", "") for route in routes))


def clashes() -> Iterator[str]:
    """What is wrong where two server objects have a route at one path: one of them would never be asked."""
    owners: dict[str, tuple[str, str]] = {}
    for endpoint, author in served_paths().items():
        for path in paths_of(endpoint):
            other, others_author = owners.setdefault(path, (endpoint, author))
            if author != others_author:
                yield f"The servers at {other} and {endpoint} both have a route at {path}."


def own_routes(application: Starlette, endpoint: str) -> list[BaseRoute]:
    """Its routes but the endpoint and the endpoint's metadata, which this app serves."""
    paths = [(route, getattr(route, "path", "")) for route in application.routes]
    return [route for route, path in paths if path != endpoint and not path.startswith(WELL_KNOWN)]


def _application(endpoint: str) -> Starlette | None:
    """The library's own application, if it would have more than the endpoint."""
    author = load(served_paths()[endpoint])
    try:
        if isinstance(author, MCPServer):
            return _of_mcpserver(author, endpoint)
        if hasattr(author, "http_app"):
            return _of_fastmcp(author, endpoint)
    except (ValueError, TypeError, AssertionError) as error:
        raise ConfigurationError(f"MCP_SESSIONS: the routes of the server at {endpoint}: {error}") from error
    return None


def _of_mcpserver(author: MCPServer[Any], endpoint: str) -> Starlette | None:
    if author._auth_server_provider is None and not author._custom_starlette_routes:
        return None
    # Making the application changes the server.
    double = copy.copy(author)
    double._lowlevel_server = copy.copy(author._lowlevel_server)
    return double.streamable_http_app(streamable_http_path=endpoint)


def _of_fastmcp(author: Any, endpoint: str) -> Starlette | None:
    if author.auth is None and not author._get_additional_http_routes():
        return None
    application: Starlette = author.http_app(path=endpoint)
    return application
