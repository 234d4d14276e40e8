"""FastMCP's side of things; imported only when a FastMCP server is served."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastmcp.server.context import reset_transport, set_transport
from fastmcp.server.transforms import (
    GetPromptNext,
    GetResourceNext,
    GetResourceTemplateNext,
    GetToolNext,
    Transform,
)

from mcp_sessions.protocol.tending import tend_component


@contextmanager
def transport() -> Iterator[None]:
    """Tell FastMCP which transport a call comes by: without it, one client's choices reach another."""
    token = set_transport("streamable-http")
    try:
        yield
    finally:
        reset_transport(token)


class TendThreads(Transform):
    """Sees every component that FastMCP looks up, and has the threads of synchronous ones tended."""

    async def get_tool(self, name: str, call_next: GetToolNext, *, version: Any = None) -> Any:
        return _tended(await call_next(name, version=version))

    async def get_resource(self, uri: str, call_next: GetResourceNext, *, version: Any = None) -> Any:
        return _tended(await call_next(uri, version=version))

    async def get_resource_template(
        self, uri: str, call_next: GetResourceTemplateNext, *, version: Any = None
    ) -> Any:
        return _tended(await call_next(uri, version=version))

    async def get_prompt(self, name: str, call_next: GetPromptNext, *, version: Any = None) -> Any:
        return _tended(await call_next(name, version=version))


def _tended(component: Any) -> Any:
    tend_component(component)
    return component
