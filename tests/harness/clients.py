"""The three official clients behind one face, so that one test is true for each."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

import fastmcp
import mcp_types as types
from fastmcp.client.transports import StreamableHttpTransport
from mcp.client import Client, ClientSession
from mcp.client.session import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.exceptions import MCPDeprecationWarning
from pydantic import FileUrl

from tests.harness.node import Node

ROOTS: Final = ("file:///tickets", "file:///reports")
REPLY: Final = "The till does not print; a new cable is on its way."
CONFIRM: Final[Mapping[str, Any]] = {"confirm": True}
END_DEADLINE: Final = 15.0

Mode = Literal["legacy", "auto"]
ClientKind = Literal["python", "python-auto", "fastmcp", "fastmcp-auto", "typescript"]


@dataclass
class Heard:
    """What came from the server without being asked for, in order."""

    progress: list[float] = field(default_factory=list)
    elicited: list[str] = field(default_factory=list)
    sampled: list[str] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The result of a tool."""

    text: str
    structured: Mapping[str, Any] | None
    is_error: bool


class AnyClient(Protocol):
    heard: Heard
    session_id: str | None
    version: str

    async def tools(self) -> list[str]: ...

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Outcome: ...

    async def subscribe(self, uri: str) -> None: ...


Opened = AbstractAsyncContextManager[AnyClient]


def open_client(
    kind: ClientKind, url: str, node: Callable[[], Node], answer: Mapping[str, Any] = CONFIRM
) -> Opened:
    """Connect; leaving the block ends the session, as each of them does it."""
    mode: Mode = "auto" if kind.endswith("-auto") else "legacy"
    if kind == "typescript":
        return _typescript(url, node(), answer)
    return _fastmcp(url, mode, answer) if kind.startswith("fastmcp") else _python(url, mode, answer)


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
        return _outcome(result.content, result.structured_content, result.is_error)

    async def subscribe(self, uri: str) -> None:
        await _subscribe(self.client.session, uri)


@asynccontextmanager
async def _python(url: str, mode: Mode, answer: Mapping[str, Any]) -> AsyncIterator[AnyClient]:
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
            mode=mode,
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
        return _outcome(result.content, result.structured_content, result.is_error)

    async def subscribe(self, uri: str) -> None:
        await _subscribe(self.client.session, uri)


@asynccontextmanager
async def _fastmcp(url: str, mode: Mode, answer: Mapping[str, Any]) -> AsyncIterator[AnyClient]:
    heard = Heard()

    async def elicit(message: str, _type: Any, _params: Any, _context: Any) -> Any:
        heard.elicited.append(message)
        return dict(answer)

    async def log(message: Any) -> None:
        heard.logs.append(message.data)

    transport = StreamableHttpTransport(url)
    client: fastmcp.Client[Any] = fastmcp.Client(
        transport,
        mode=mode,
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


@dataclass
class TypeScriptClient:
    process: asyncio.subprocess.Process
    heard: Heard = field(default_factory=Heard)
    session_id: str | None = None
    version: str = ""
    answers: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    last_id: int = 0

    async def tools(self) -> list[str]:
        return list(await self.do("tools"))

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Outcome:
        result = await self.do("call", name=name, arguments=dict(arguments or {}))
        content = [types.TextContent(type="text", text=block.get("text", "")) for block in result["content"]]
        return _outcome(content, result.get("structuredContent"), bool(result.get("isError")))

    async def subscribe(self, uri: str) -> None:
        await self.do("subscribe", uri=uri)

    async def do(self, command: str, **given: Any) -> Any:
        """One command to the script; commands may overlap."""
        assert self.process.stdin is not None
        self.last_id += 1
        future = self.answers[self.last_id] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"id": self.last_id, "do": command, **given}).encode() + b"\n")
        await self.process.stdin.drain()
        return await future

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            self.heard.__dict__.update(told["heard"])
            if "id" not in told:
                continue
            waiting = self.answers.pop(told["id"])
            if "error" in told:
                waiting.set_exception(AssertionError(f"{told['error']} ({told['code']})"))
            else:
                waiting.set_result(told["result"])
        for waiting in self.answers.values():
            waiting.set_exception(AssertionError("The TypeScript client ended."))


@asynccontextmanager
async def _typescript(url: str, node: Node, answer: Mapping[str, Any]) -> AsyncIterator[AnyClient]:
    given = json.dumps({"url": url, "answer": dict(answer), "reply": REPLY, "roots": ROOTS})
    process = await asyncio.create_subprocess_exec(
        *node.command("client.mjs", given), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    client = TypeScriptClient(process)
    reading = asyncio.create_task(client.read())
    try:
        connected = await client.do("connect")
        client.session_id, client.version = connected["session_id"], connected["version"]
        yield client
        await client.do("end")
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(END_DEADLINE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading


def _outcome(content: Sequence[Any], structured: Any, is_error: bool) -> Outcome:
    return Outcome("".join(getattr(block, "text", "") for block in content), structured, is_error)


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
