"""The official SDK's client, connected to the mounted app."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import mcp_types as types
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_sessions.routing import Application
from mcp_sessions.testing.app import http_client, url_of
from mcp_sessions.testing.transport import StreamingTransport

Answer = Callable[[Any, types.ElicitRequestParams], Coroutine[Any, Any, types.ElicitResult]]


class ConnectedClient(Client):
    """`mcp.Client` with what a test of sessions needs besides."""

    session_id: str | None = None
    """What the server called the session; None in revisions without sessions. load_session() takes it."""
    _transport: StreamingTransport

    def lose_connections(self) -> None:
        """Break the connections that are open, as when the network is gone.

        The client comes back by itself for what it waits for, and says the last event id that it has read.
        """
        self._transport.lose_connections()


@asynccontextmanager
async def connect(
    path: str | None = None,
    *,
    mode: str = "legacy",
    headers: Mapping[str, str] | None = None,
    application: Application | None = None,
    **options: Any,
) -> AsyncIterator[ConnectedClient]:
    """A connected client of the endpoint at this path; leaving the block ends its session.

    `mode` is the SDK's: "legacy" opens a session by the handshake, "2026-07-28" speaks that revision,
    "auto" tries it first. `headers` go with each request. `options` are those of `mcp.Client`:
    elicitation_callback, sampling_callback, logging_callback, message_handler...
    """
    async with http_client(application, headers=headers) as http:
        transport = streamable_http_client(url_of(path), http_client=http)
        client = ConnectedClient(transport, mode=mode, **options)
        assert isinstance(http._transport, StreamingTransport)
        client._transport = http._transport

        async def note_id(response: httpx2.Response) -> None:
            client.session_id = client.session_id or response.headers.get("mcp-session-id")

        http.event_hooks = {"request": [], "response": [note_id]}
        async with client:
            yield client


def accept(**content: Any) -> Answer:
    """An elicitation_callback that fills in the form with this."""

    async def answer(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content=content)

    return answer


async def decline(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """An elicitation_callback that refuses to answer."""
    return types.ElicitResult(action="decline")
