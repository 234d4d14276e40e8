"""Tools, resources and prompts that not everybody may use (see security.requirements).

A request is checked before it is served: 401 and 403 must come before a stream begins. What its sender
must not find is then answered as what is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, CompleteResult, Completion, EmptyResult, TextContent

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import AccessDenied, CredentialRequired, InsufficientScope
from mcp_sessions.exchange import Exchange, Target
from mcp_sessions.jsonrpc import INVALID_PARAMS
from mcp_sessions.principals import Principal
from mcp_sessions.protocol.callers import calling
from mcp_sessions.protocol.handlers import Handler, Request, wrap_handler
from mcp_sessions.protocol.mistakes import refuse
from mcp_sessions.protocol.permitting import checked_request, is_permitted
from mcp_sessions.refusals import report_refusal
from mcp_sessions.security.challenges import challenge
from mcp_sessions.security.requirements import (
    NOTHING,
    Requirement,
    is_used,
    missing_scopes,
    required_by,
    required_in,
)

Asked = tuple[str, Mapping[str, Any] | None]
"""A request's method and params."""

LISTS: Final = {
    "tools/list": ("tools", "tools", "name"),
    "prompts/list": ("prompts", "prompts", "name"),
    "resources/list": ("resources", "resources", "uri"),
    "resources/templates/list": ("resources", "resource_templates", "uri_template"),
}
"""Method → kind of component, where the result has them, and what each is known by."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may use which component of a server object at an endpoint."""

    author: Any
    endpoint: str

    @property
    def is_needed(self) -> bool:
        return is_used() or bool(AppSettings(self.endpoint).REQUIRES)

    async def check(self, principal: Principal, requests: Iterable[Asked]) -> frozenset[Target]:
        """What the sender of these requests must not find. Raises AccessDenied for a missing scope."""
        hidden: set[Target] = set()
        needed: frozenset[str] = frozenset()
        with calling(principal):
            for target in dict.fromkeys(each for asked in requests for each in _targets(*asked)):
                requirement = await self._requirement(target)
                missing = await missing_scopes(principal, requirement)
                if missing is None:
                    hidden.add(target)
                elif missing:
                    needed |= requirement.scopes
        if needed:
            anonymous = principal.is_anonymous
            raise CredentialRequired(scopes=needed) if anonymous else InsufficientScope(needed)
        return frozenset(hidden)

    async def permits(self, principal: Principal, kind: str, name: str, component: Any) -> bool:
        """Whether the principal may find and use a component that has this name, or URI."""
        requirement = self._of_component(kind, name, component)
        return requirement == NOTHING or await missing_scopes(principal, requirement) == frozenset()

    def find(self, kind: str, name: str) -> tuple[str, Any]:
        """The component of an MCPServer that a name or a URI leads to, and its own; None if unknown."""
        if not isinstance(self.author, MCPServer):
            return name, None
        if kind == "tools":
            return name, self.author._tool_manager.get_tool(name)
        if kind == "prompts":
            return name, self.author._prompt_manager.get_prompt(name)
        return _resource(self.author, name)

    def _of_component(self, kind: str, name: str, component: Any, asked: str = "") -> Requirement:
        table, names = AppSettings(self.endpoint).REQUIRES, {name, asked or name}
        if kind == "resources":
            # Server libraries decode what a template takes from a URI.
            names |= set(map(unquote, names))
        return required_by(component) | required_in(table, kind, *names)

    async def find_tool(self, name: str) -> Any:
        """The tool that a name leads to; None if it is unknown, as all of a low-level server's are."""
        return (await self._find("tools", name))[1]

    async def _requirement(self, target: Target) -> Requirement:
        kind, asked = target
        name, component = await self._find(kind, asked)
        return self._of_component(kind, name, component, asked)

    async def _find(self, kind: str, name: str) -> tuple[str, Any]:
        if not hasattr(self.author, "get_tool"):
            return self.find(kind, name)
        from mcp_sessions.protocol.fastmcp import find  # only where FastMCP is installed

        return await find(self.author, kind, name)


async def permit(guard: Guard, exchange: Exchange, requests: Iterable[Asked]) -> Exchange:
    """The exchange with what its sender must not find. Raises RequestError 401 or 403 with a challenge."""
    try:
        hidden = await guard.check(exchange.principal, requests)
    except AccessDenied as error:
        report_refusal(exchange, error.code or error.reason)
        raise challenge(exchange, error) from error
    for _ in hidden:
        report_refusal(exchange, "permission")
    return replace(exchange, hidden=hidden)


# -- while a request is served ----------------------------------------------------------------


def install(low: Server[Any], guard: Guard) -> None:
    """Have the handlers of a prepared copy of a server ask. FastMCP asks for each component by itself."""
    for method, refuse_hidden in _REFUSALS.items():
        wrap_handler(low, method, partial(_serve, method, refuse_hidden))
    wrap_handler(low, "subscriptions/listen", _listen)
    _wrap_schemas(low)
    if hasattr(guard.author, "get_tool"):
        from mcp_sessions.protocol.fastmcp import guard_components

        guard_components(guard.author)
        return
    for method, refuse_hidden in _UNKNOWN.items():
        wrap_handler(low, method, partial(_serve, method, refuse_hidden))
    for method in LISTS:
        wrap_handler(low, method, partial(_list, guard, method))


async def _serve(
    method: str, refuse_hidden: Callable[[Any], Any], handler: Handler, ctx: Request, params: Any
) -> Any:
    """Answer a request for something hidden as `refuse_hidden` does."""
    asked = params.model_dump(by_alias=True) if checked_request.get() is not None else {}
    hidden = any(_is_hidden(target) for target in _targets(method, asked))
    return refuse_hidden(params) if hidden else await handler(ctx, params)


async def _list(guard: Guard, method: str, handler: Handler, ctx: Request, params: Any) -> Any:
    result = await handler(ctx, params)
    return result if checked_request.get() is None else await _kept(guard, result, *LISTS[method])


async def _kept(guard: Guard, result: Any, kind: str, where: str, known_by: str) -> Any:
    """A page of a list without what its reader must not find. It is for this reader alone."""
    kept = []
    for each in getattr(result, where):
        name = str(getattr(each, known_by))
        if await is_permitted(kind, name, guard.find(kind, name)[1]):
            kept.append(each)
    return result.model_copy(update={where: kept, "cache_scope": "private"})


async def _listen(handler: Handler, ctx: Request, params: Any) -> Any:
    """`subscriptions/listen` hears nothing of hidden resources, as of those that are not there."""
    wanted = params.notifications
    uris = [uri for uri in wanted.resource_subscriptions or () if not _is_hidden(("resources", uri))]
    if wanted.resource_subscriptions and len(uris) < len(wanted.resource_subscriptions):
        wanted = wanted.model_copy(update={"resource_subscriptions": uris})
        params = params.model_copy(update={"notifications": wanted})
    return await handler(ctx, params)


def _wrap_schemas(low: Server[Any]) -> None:
    """The SDK holds headers of 2026-07-28 against a tool's schema before it calls it: not a hidden one's."""
    if (find := low.get_tool_input_schema) is not None:
        low.get_tool_input_schema = lambda name: None if _is_hidden(("tools", name)) else find(name)


def _is_hidden(target: Target) -> bool:
    checked = checked_request.get()
    return checked is not None and target in checked.hidden


def _unknown_tool(params: Any) -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text=f"Unknown tool: {params.name}")], is_error=True
    )


def _unknown_resource(params: Any) -> Any:
    uri = str(params.uri)
    raise MCPError(INVALID_PARAMS, f"Unknown resource: {uri}", {"uri": uri})


def _unknown_prompt(params: Any) -> Any:
    refuse(f"Unknown prompt: {params.name}")


_REFUSALS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "resources/subscribe": lambda _: EmptyResult(),
    "resources/unsubscribe": lambda _: EmptyResult(),
    "completion/complete": lambda _: CompleteResult(completion=Completion(values=[])),
}
"""What is said of a hidden resource or prompt here, as of one that is not there."""
_UNKNOWN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "tools/call": _unknown_tool,
    "resources/read": _unknown_resource,
    "prompts/get": _unknown_prompt,
}
"""What the official SDK's MCPServer answers for names that it does not have."""


# -- what a request is about ------------------------------------------------------------------


def _targets(method: str, params: Mapping[str, Any] | None) -> Sequence[Target]:
    """What a request is about. Whatever is not text, the server library refuses."""
    find = _TARGETS.get(method)
    return [] if find is None else [each for each in find(params or {}) if isinstance(each[1], str)]


def _of_reference(params: Mapping[str, Any]) -> list[tuple[str, Any]]:
    ref = params.get("ref")
    ref = ref if isinstance(ref, Mapping) else {}
    return [("prompts", ref.get("name")), ("resources", ref.get("uri"))]


def _of_listening(params: Mapping[str, Any]) -> list[tuple[str, Any]]:
    wanted = params.get("notifications")
    uris = wanted.get("resourceSubscriptions") if isinstance(wanted, Mapping) else None
    return [("resources", uri) for uri in uris] if isinstance(uris, list) else []


_TARGETS: Final[Mapping[str, Callable[[Mapping[str, Any]], list[tuple[str, Any]]]]] = {
    "tools/call": lambda params: [("tools", params.get("name"))],
    "prompts/get": lambda params: [("prompts", params.get("name"))],
    "resources/read": lambda params: [("resources", params.get("uri"))],
    "resources/subscribe": lambda params: [("resources", params.get("uri"))],
    "resources/unsubscribe": lambda params: [("resources", params.get("uri"))],
    "completion/complete": _of_reference,
    "subscriptions/listen": _of_listening,
}


def _resource(author: MCPServer[Any], uri: str) -> tuple[str, Any]:
    """The resource, else the first template that the URI fits, as the SDK looks for it."""
    manager = author._resource_manager
    if (resource := manager._resources.get(uri)) is not None:
        return uri, resource
    for template in manager._templates.values():
        if template.uri_template == uri or _fits(template, uri):
            return template.uri_template, template
    return uri, None


def _fits(template: Any, uri: str) -> bool:
    # A URI that the SDK refuses for its path is refused by it, whoever asks.
    with suppress(Exception):
        return template.matches(uri) is not None
    return False
