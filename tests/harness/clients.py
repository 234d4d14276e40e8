"""The official clients behind one face, so that one test is true for each."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import fastmcp
import mcp_types as types
from fastmcp.client.transports import StreamableHttpTransport
from mcp.client import Client, ClientSession
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import FileUrl

from tests.harness.faces import CONFIRM, REPLY, ROOTS, AnyClient, Heard, Outcome
from tests.harness.node import Node
from tests.harness.older import older_python
from tests.harness.scripted import scripted

Mode = Literal["legacy", "auto"]
ClientKind = Literal[
    "python",
    "python-default",
    "python1",
    "fastmcp",
    "fastmcp-default",
    "typescript",
    "typescript-sse",
    "typescript2-default",
    "typescript2-auto",
]
"""Without a number: Python's 2.x, TypeScript's 1.x. A client that speaks both eras is told to begin with
the handshake, or to begin with 2026-07-28 (auto), or is told nothing (default)."""


Opened = AbstractAsyncContextManager[AnyClient]


def open_client(
    kind: ClientKind, url: str, node: Callable[[], Node], answer: Mapping[str, Any] = CONFIRM
) -> Opened:
    """Connect; leaving the block ends the session, as each of them does it."""
    match kind:
        case "python1":
            return scripted(older_python().command(), url, answer)
        case "typescript":
            return scripted(node().command("client.mjs"), url, answer)
        case "typescript-sse":
            return scripted(node().command("client.mjs"), url, answer, transport="sse")
        case "typescript2-default":
            return scripted(node().command("client2.mjs"), url, answer)
        case "typescript2-auto":
            return scripted(node().command("client2.mjs"), url, answer, mode="auto")
        case "fastmcp" | "fastmcp-default":
            return _fastmcp(url, _mode_of(kind), answer)
        case "python" | "python-default":
            return _python(url, _mode_of(kind), answer)


def _mode_of(kind: ClientKind) -> dict[str, Mode]:
    return {} if kind.endswith("-default") else {"mode": "legacy"}


@dataclass
class PythonClient:
    client: Client
    heard: Heard
    session_id: str | None
    version: str

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Outcome:
        result = await self.client.call_tool(
            name, dict(arguments or {}), progress_callback=_progress_of(self.heard)
        )
        return Outcome.of(result.content, result.structured_content, result.is_error)

    async def subscribe(self, uri: str) -> None:
        await _subscribe(self.client.session, uri)


@asynccontextmanager
async def _python(url: str, mode: Mapping[str, Mode], answer: Mapping[str, Any]) -> AsyncIterator[AnyClient]:
    heard, ids = Heard(), list[str]()

    async def note_id(response: Any) -> None:
        ids.extend(value for name, value in response.headers.items() if name.lower() == "mcp-session-id")

    async def elicit(context: ClientRequestContext, params: Any) -> types.ElicitResult:
        heard.elicited.append(params.message)
        return types.ElicitResult(action="accept", content=dict(answer))

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        heard.logs.append(params.data)

    async with create_mcp_http_client() as http_client:
        http_client.event_hooks = {"request": [], "response": [note_id]}
        client = Client(
            streamable_http_client(url, http_client=http_client),
            **mode,
            elicitation_callback=elicit,
            sampling_callback=_sampling_of(heard),
            list_roots_callback=_list_roots,
            logging_callback=log,
            message_handler=_updates_of(heard),
        )
        async with client:
            yield PythonClient(client, heard, ids[0] if ids else None, client.protocol_version)


@dataclass
class FastMCPClient:
    client: fastmcp.Client[Any]
    heard: Heard
    session_id: str | None
    version: str

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self.client.list_tools()]

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Outcome:
        result = await self.client.call_tool(
            name, dict(arguments or {}), raise_on_error=False, progress_handler=_progress_of(self.heard)
        )
        return Outcome.of(result.content, result.structured_content, result.is_error)

    async def subscribe(self, uri: str) -> None:
        await _subscribe(self.client.session, uri)


@asynccontextmanager
async def _fastmcp(url: str, mode: Mapping[str, Mode], answer: Mapping[str, Any]) -> AsyncIterator[AnyClient]:
    heard = Heard()

    async def elicit(message: str, _type: Any, _params: Any, _context: Any) -> Any:
        heard.elicited.append(message)
        return dict(answer)

    async def log(message: Any) -> None:
        heard.logs.append(message.data)

    transport = StreamableHttpTransport(url)
    client: fastmcp.Client[Any] = fastmcp.Client(
        transport,
        **mode,
        roots=list(ROOTS),
        elicitation_handler=elicit,
        sampling_handler=lambda messages, _params, _context: _sampled(heard, messages),
        log_handler=log,
        message_handler=_updates_of(heard),
    )
    async with client:
        version = client.session.protocol_version
        assert version is not None
        yield FastMCPClient(client, heard, transport._session_id, version)


def _progress_of(heard: Heard) -> Any:
    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        heard.progress.append(progress)

    return on_progress


def _sampled(heard: Heard, messages: Sequence[types.SamplingMessage]) -> str:
    heard.sampled.append("".join(message.model_dump_json() for message in messages))
    return REPLY


def _sampling_of(heard: Heard) -> Any:
    async def sample(_: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        text = types.TextContent(type="text", text=_sampled(heard, params.messages))
        return types.CreateMessageResult(role="assistant", model="a model", content=text)

    return sample


async def _list_roots(context: ClientRequestContext) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri=FileUrl(uri)) for uri in ROOTS])


def _updates_of(heard: Heard) -> Any:
    async def on_message(message: Any) -> None:
        if isinstance(message, types.ResourceUpdatedNotification):
            heard.updated.append(str(message.params.uri))
        elif isinstance(message, Exception):
            heard.errors.append(repr(message))

    return on_message


async def _subscribe(session: ClientSession, uri: str) -> None:
    with warnings.catch_warnings():
        # 2026-07-28 gave it up; clients of the handshake revisions have nothing else.
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        subscribing = session.subscribe_resource(uri)
    await subscribing
