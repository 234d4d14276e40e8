"""The server object of the in-process tests: a tool for everything a call can do."""

from __future__ import annotations

import asyncio
import json
import logging
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import CreateMessageRequest, CreateMessageRequestParams, SamplingMessage, TextContent
from mcp_types import CreateMessageResult as SamplingResult

from mcp_sessions import get_session
from mcp_sessions.models import Session

T = TypeVar("T")

DEADLINE: Final = 60.0
"""Seconds a test waits for anything that must happen, on a machine that is busy with other tests."""

author: Final = logging.getLogger("shop.tools")
"""Where whoever wrote the tools logs."""

lifespans: Final[list[str]] = []
"""What became of the server's lifespan in this process, in order."""


class Gate:
    """Where a tool waits until its test lets it go on, whichever loops the two run on."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self._reached: Future[None] = Future()
        self._opened: Future[None] = Future()

    async def reached(self) -> None:
        """Wait, in the test, until the tool is here."""
        await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(self._reached)), DEADLINE)

    def open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def wait_in_thread(self) -> None:
        """wait() for synchronous tools."""
        self._opened.result(DEADLINE)

    async def wait(self) -> None:
        """Wait, in the tool, until the test opens the gate; what became of that is in the log."""
        if not self._reached.done():
            self._reached.set_result(None)
        try:
            await asyncio.shield(asyncio.wrap_future(self._opened))
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        self.log.append("finished")


gates: Final[dict[str, Gate]] = {}


@asynccontextmanager
async def lifespan(_: MCPServer[Any]) -> AsyncIterator[dict[str, str]]:
    lifespans.append("entered")
    try:
        yield {"greeting": "hello"}
    finally:
        lifespans.append("left")


server: Final = MCPServer("doors", instructions="For tests.", lifespan=lifespan)
other: Final = MCPServer("other")


@contextmanager
def handshake_era() -> Iterator[None]:
    """Logging and sampling are deprecated since 2026-07-28; the clients here are older."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        yield


@server.tool()
async def echo(text: str) -> str:
    """The text as it came."""
    return text


@server.tool(structured_output=False)
async def echo_json(value: Any) -> str:
    """Any value, as Python's JSON of it."""
    return json.dumps(value)


@server.tool()
def count_sessions() -> int:
    """A synchronous tool that uses the ORM."""
    return Session.objects.count()


@server.tool()
async def acount_sessions() -> int:
    """An asynchronous tool that uses the ORM."""
    return await Session.objects.acount()


@server.tool()
async def progress(steps: int, ctx: Context[Any, Any], gate: str | None = None) -> str:
    """Report each step; with a gate, wait at it after the first."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        if gate and step == 1:
            await gates[gate].wait()
    return "done"


@server.tool()
async def log(texts: dict[str, str], ctx: Context[Any, Any]) -> str:
    """Log on this call's stream: level → text."""
    for level, text in texts.items():
        with handshake_era():
            await ctx.log(level, text)  # type: ignore[arg-type]
    return "logged"


@server.tool()
async def announce(texts: list[str], ctx: Context[Any, Any]) -> str:
    """Log on the session's standalone stream: it belongs to no request."""
    for text in texts:
        with handshake_era():
            await ctx.session.send_log_message("info", text)
    return "announced"


@server.tool()
async def change_tools(ctx: Context[Any, Any]) -> str:
    """Tell the client that the list of tools has changed."""
    await ctx.session.send_tool_list_changed()
    return "changed"


@server.tool()
async def elicit(message: str, ctx: Context[Any, Any]) -> str:
    """Ask the user."""
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    answer = await ctx.session.elicit_form(message, schema, ctx.request_id)
    return json.dumps({"action": answer.action, "content": answer.content})


@server.tool()
async def elicit_and_wait(gate: str, ctx: Context[Any, Any]) -> str:
    """Ask the user, then wait for the test."""
    await elicit("who?", ctx)
    await ctx.report_progress(1)
    await gates[gate].wait()
    return "done"


@server.tool()
async def ask_while_editing(ctx: Context[Any, Any]) -> str:
    """Ask the user inside an edit of the session."""
    async with get_session(ctx).edit() as data:
        data["asked"] = json.loads(await elicit("who?", ctx))["content"]["name"]
    return str(data["asked"])


@server.tool()
async def look(ctx: Context[Any, Any]) -> list[str]:
    """The names in the session's data."""
    return sorted(get_session(ctx).data)


@server.tool()
async def sample(prompt: str, ctx: Context[Any, Any]) -> str:
    """Ask the client's model."""
    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    with handshake_era():
        answer = await ctx.session.create_message([message], max_tokens=10, related_request_id=ctx.request_id)
    assert isinstance(answer.content, TextContent)
    return answer.content.text


@server.tool()
async def sample_with_progress(ctx: Context[Any, Any], gate: str, fails: bool = False) -> str:
    """Ask the client's model, and note how far it says it is."""

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        gates[gate].log.append(f"{done:g} of {total or 0:g}: {message}")
        author.info("the client is on it")
        gates[gate].open()
        if fails:
            raise RuntimeError("the callback of a tool may be wrong")

    message = SamplingMessage(role="user", content=TextContent(type="text", text="?"))
    request = CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=10))
    answer = await ctx.session.send_request(request, SamplingResult, progress_callback=on_progress)
    assert isinstance(answer.content, TextContent)
    return answer.content.text


@server.tool()
async def roots(ctx: Context[Any, Any]) -> list[str]:
    """Ask the client for its roots."""
    with handshake_era():
        found = await ctx.session.list_roots()
    return [str(root.uri) for root in found.roots]


@server.tool()
async def ping_client(ctx: Context[Any, Any]) -> str:
    """Ping the client."""
    await ctx.session.send_ping()
    return "pong"


@server.tool()
async def slow(gate: str) -> str:
    """Wait for the test."""
    await gates[gate].wait()
    return "done"


@server.tool()
async def poll(gate: str, ctx: Context[Any, Any]) -> str:
    """Have the client come back for the result."""
    await ctx.close_sse_stream()
    await gates[gate].wait()
    return "worth the wait"


@server.tool()
async def add(item: str, ctx: Context[Any, Any]) -> list[str]:
    """Put something into the session's basket."""
    session = get_session(ctx)
    async with session.edit() as data:
        data.setdefault("basket", []).append(item)
    return list(session.data["basket"])


@server.tool()
def basket(ctx: Context[Any, Any]) -> list[str]:
    """What is in the basket."""
    return list(get_session(ctx).data.get("basket", []))


@server.tool()
async def session_key(ctx: Context[Any, Any]) -> str:
    """The session's public name."""
    return get_session(ctx).key


@server.tool()
async def seen(ctx: Context[Any, Any]) -> str:
    """Everything of the request that a tool is shown."""
    request = ctx.request_context.request
    assert request is not None
    return json.dumps(
        {
            "headers": dict(ctx.headers or {}),
            "url": str(request.url),
            "request_id": ctx.request_id,
            "lifespan": ctx.request_context.lifespan_context,
            "version": ctx.protocol_version,
        }
    )


@server.tool()
async def write(text: str, gate: str) -> str:
    """Log here, in a task and in a thread, all while others do."""
    gates[gate].log.append(text)
    await gates[gate].wait()
    author.info("%s in the tool", text)
    await asyncio.create_task(write_later(text))
    await asyncio.to_thread(author.info, "%s in a thread", text)
    return text


async def write_later(text: str) -> None:
    await asyncio.sleep(0)
    author.info("%s in a task", text)


@server.tool()
def write_in_thread(text: str, gate: str) -> str:
    """The same of a synchronous tool."""
    gates[gate].log.append(text)
    gates[gate].wait_in_thread()
    author.info("%s in the tool", text)
    return text


@server.tool()
async def fail() -> str:
    """Fail as a bug does."""
    raise RuntimeError("a secret of the server")


@server.tool()
async def refuse() -> str:
    """Fail as a tool may."""
    raise ToolError("not today")


@server.tool(structured_output=False)
async def not_a_number() -> float:
    """A float that JSON does not know."""
    return float("nan")


@server.tool()
async def numbers() -> dict[str, float]:
    """Floats that JSON does not know, in a structured result."""
    return {"not a number": float("nan"), "infinite": float("inf")}


@server.resource("note://static")
def static_note() -> str:
    """A note."""
    return "a static note"


@server.resource("note://{id}")
async def note(id: str) -> str:
    """A note by its id."""
    return f"note {id}"


@server.prompt()
def greeting(name: str) -> str:
    """A greeting."""
    return f"Greet {name}"


@other.tool()
async def identify() -> str:
    """Which server this is."""
    return "other"
