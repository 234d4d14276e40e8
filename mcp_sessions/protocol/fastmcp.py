"""FastMCP's side of things; imported only when a FastMCP server is served."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NoReturn

from fastmcp.exceptions import PromptError, ToolError, ValidationError
from fastmcp.prompts.function_prompt import FunctionPrompt
from fastmcp.resources.template import FunctionResourceTemplate
from fastmcp.server.auth import AuthProvider, MultiAuth
from fastmcp.server.context import reset_transport, set_transport
from fastmcp.server.transforms import (
    GetPromptNext,
    GetResourceNext,
    GetResourceTemplateNext,
    GetToolNext,
    Transform,
)

from mcp_sessions.protocol.components import wrapped, wrapped_tool
from mcp_sessions.protocol.faststate import keep_state
from mcp_sessions.protocol.mistakes import MAX_LENGTH, refuse_missing_arguments
from mcp_sessions.protocol.permitting import is_permitted
from mcp_sessions.security.serverauth import ServerAuth


@contextmanager
def transport() -> Iterator[None]:
    """Tell FastMCP which transport a call comes by: without it, one client's choices reach another."""
    token = set_transport("streamable-http")
    try:
        yield
    finally:
        reset_transport(token)


def auth_of(provider: AuthProvider, endpoint: str) -> ServerAuth:
    """What FastMCP's `auth` asks for."""
    # Providers that issue tokens learn from this for whom.
    provider.set_mcp_path(endpoint)
    url = provider._get_resource_url(endpoint)
    return ServerAuth(
        provider,
        url=None if url is None else str(url).rstrip("/"),
        authorization_servers=tuple(map(str, _issuers(provider))),
        required_scopes=frozenset(provider.required_scopes),
        scopes_supported=tuple(provider.scopes_supported),
        challenge_scopes=lambda scopes: _challenge_scopes(provider, scopes),
        problem=_problem(provider),
        name=getattr(provider, "resource_name", None) or "",
        documentation=str(getattr(provider, "resource_documentation", None) or ""),
    )


def _problem(provider: AuthProvider) -> str:
    """What of the provider only FastMCP's own application can honour."""
    if type(provider).get_middleware is AuthProvider.get_middleware:
        return ""
    name = type(provider).__name__
    return f"{name} has ASGI middleware of its own (get_middleware), and the endpoint does not run that."


def _issuers(provider: AuthProvider) -> Sequence[object]:
    """Authorization servers, as the provider's own metadata names them."""
    if isinstance(provider, MultiAuth):
        return _issuers(provider.server) if provider.server is not None else ()
    issuer = getattr(provider, "issuer_url", None)
    return getattr(provider, "authorization_servers", None) or ([issuer] if issuer else [])


def _challenge_scopes(provider: AuthProvider, scopes: Sequence[str]) -> Sequence[str]:
    if set(scopes) == set(provider.required_scopes):
        return provider.challenge_scopes
    return provider.get_challenge_scopes(list(scopes))


def wrap_components(author: Any, endpoint: str) -> None:
    """Wrap every component of a FastMCP server and of those mounted in it, and keep its state in sessions.

    It looks components up itself, and lets a transform of ours change each one that it found.
    """
    keep_state(author, endpoint)
    if not any(isinstance(each, WrapComponents) for each in author.transforms):
        author.add_transform(WrapComponents())
    for provider in author.providers:
        # A server mounted under a namespace is wrapped once more.
        while hasattr(provider, "_inner"):
            provider = provider._inner
        if (mounted := getattr(provider, "server", None)) is not None:
            wrap_components(mounted, endpoint)


class WrapComponents(Transform):
    """Wraps every component that FastMCP looks up: synchronous ones get fresh database connections, and a
    client's mistakes are answered as such.
    """

    async def get_tool(self, name: str, call_next: GetToolNext, *, version: Any = None) -> Any:
        return wrapped_tool(await call_next(name, version=version), _refuse_call)

    async def get_resource(self, uri: str, call_next: GetResourceNext, *, version: Any = None) -> Any:
        return wrapped(await call_next(uri, version=version), _refuse)

    async def get_resource_template(
        self, uri: str, call_next: GetResourceTemplateNext, *, version: Any = None
    ) -> Any:
        template = await call_next(uri, version=version)
        return wrapped(template, _refuse, checks_arguments=isinstance(template, FunctionResourceTemplate))

    async def get_prompt(self, name: str, call_next: GetPromptNext, *, version: Any = None) -> Any:
        prompt = wrapped(await call_next(name, version=version), _refuse)
        if isinstance(prompt, FunctionPrompt):
            prompt = prompt.model_copy()
            prompt.__class__ = _checked_class(type(prompt))
        return prompt


@cache
def _checked_class(kind: type[FunctionPrompt]) -> type[FunctionPrompt]:
    """A class of prompts that tells a client's mistakes from errors of the function."""

    class Checked(kind):  # type: ignore[misc, valid-type]
        async def render(self, arguments: dict[str, Any] | None = None) -> Any:
            refuse_missing_arguments(self, arguments, _refuse)
            return await super().render(arguments)

        def _convert_string_arguments(self, kwargs: dict[str, Any]) -> dict[str, Any]:
            try:
                found: dict[str, Any] = super()._convert_string_arguments(kwargs)
            except PromptError as error:
                raise ValidationError(str(error)[:MAX_LENGTH], log_level=logging.DEBUG) from error
            return found

    return Checked


def _refuse_call(message: str) -> NoReturn:
    raise ToolError(message, log_level=logging.DEBUG)


def _refuse(message: str) -> NoReturn:
    raise ValidationError(message[:MAX_LENGTH], log_level=logging.DEBUG)


# -- who may use what ---------------------------------------------------------------------------


def guard_components(author: Any) -> None:
    """Have a server ask of each component that a request finds or lists whether its sender may."""
    if not any(isinstance(each, Guarding) for each in author.transforms):
        author.add_transform(Guarding())


class Guarding(Transform):
    """Hides components from whoever may not use them (see guarding)."""

    async def list_tools(self, tools: Sequence[Any]) -> Sequence[Any]:
        return [each for each in tools if await is_permitted("tools", each.name, each)]

    async def list_resources(self, resources: Sequence[Any]) -> Sequence[Any]:
        return [each for each in resources if await is_permitted("resources", str(each.uri), each)]

    async def list_resource_templates(self, templates: Sequence[Any]) -> Sequence[Any]:
        return [each for each in templates if await is_permitted("resources", each.uri_template, each)]

    async def list_prompts(self, prompts: Sequence[Any]) -> Sequence[Any]:
        return [each for each in prompts if await is_permitted("prompts", each.name, each)]

    async def get_tool(self, name: str, call_next: GetToolNext, *, version: Any = None) -> Any:
        return await _permitted("tools", name, await call_next(name, version=version))

    async def get_resource(self, uri: str, call_next: GetResourceNext, *, version: Any = None) -> Any:
        return await _permitted("resources", uri, await call_next(uri, version=version))

    async def get_resource_template(
        self, uri: str, call_next: GetResourceTemplateNext, *, version: Any = None
    ) -> Any:
        found = await _permitted("resources", uri, await call_next(uri, version=version))
        return found and await _permitted("resources", found.uri_template, found)

    async def get_prompt(self, name: str, call_next: GetPromptNext, *, version: Any = None) -> Any:
        return await _permitted("prompts", name, await call_next(name, version=version))


async def _permitted(kind: str, name: str, component: Any) -> Any:
    return component if component is None or await is_permitted(kind, name, component) else None


async def find(author: Any, kind: str, name: str) -> tuple[str, Any]:
    """The component that a name or a URI leads to, and its own; None if there is none for the caller."""
    with transport(), suppress(Exception):
        if kind == "tools":
            return name, await author.get_tool(name)
        if kind == "prompts":
            return name, await author.get_prompt(name)
        if (resource := await author.get_resource(name)) is not None:
            return name, resource
        if (template := await author.get_resource_template(name)) is not None:
            return template.uri_template, template
    return name, None
