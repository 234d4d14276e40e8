"""The mounted app on the test's event loop, for as long as some client of the test is connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2
from django.core.asgi import get_asgi_application

from mcp_sessions.apps import leave_databases
from mcp_sessions.conf import DEFAULT_PATH, served_paths
from mcp_sessions.routing import Application, mount, prepare
from mcp_sessions.runtime import adopt, peek
from mcp_sessions.testing.transport import StreamingTransport

HOST: Final = "http://testserver"
"""Django's test runner and pytest-django put this host into ALLOWED_HOSTS."""
_users: Final[set[object]] = set()


@asynccontextmanager
async def running_app(application: Application | None = None) -> AsyncIterator[Application]:
    """The project's ASGI application; by default the endpoints of MCP_SESSIONS with Django behind them.

    When the last block that uses one is left, the process's runtime stops: its tasks end, its threads end
    and the session store closes its connections. So nothing of one test is there in the next, and a test
    database can be dropped.
    """
    if (left := peek()) is not None and not left.is_here:
        # Of code that ran before without a client: its loop is not this one.
        await asyncio.to_thread(leave_databases)
    user = object()
    _users.add(user)
    try:
        await prepare(adopt())
        django: Any = get_asgi_application()
        yield application or mount(django)
    finally:
        _users.discard(user)
        if not _users:
            await _stop()


async def _stop() -> None:
    if (runtime := peek()) is not None and runtime.is_here:
        await runtime.shutdown()
    await asyncio.to_thread(leave_databases)  # closing a connection blocks


@asynccontextmanager
async def http_client(
    application: Application | None = None, *, headers: Mapping[str, str] | None = None
) -> AsyncIterator[httpx2.AsyncClient]:
    """A plain HTTP client of the mounted app, for requests that no MCP client sends."""
    options: dict[str, Any] = {"base_url": HOST, "headers": headers, "timeout": None}
    async with (
        running_app(application) as app,
        httpx2.AsyncClient(transport=StreamingTransport(app), **options) as client,
    ):
        yield client


def url_of(path: str | None = None) -> str:
    """The URL of an endpoint; without a path, of the project's one server, or of that at `/mcp`."""
    paths = served_paths()
    if path is None:
        path = DEFAULT_PATH if DEFAULT_PATH in paths else next(iter(paths))
    return HOST + path
