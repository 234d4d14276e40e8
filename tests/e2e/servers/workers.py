"""A server whose tools say which process they run in, and wait for what a test does elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    SamplingMessage,
    TextContent,
)

from mcp_sessions import Session, get_session
from mcp_sessions.stores import get_store
from tests.e2e.workers.gates import Gates

server: Final[MCPServer[Any]] = MCPServer("workers")
NAME_SCHEMA: Final = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

AnyContext = Context[Any, Any]


@contextmanager
def handshake_era() -> Iterator[None]:
    """Logging, sampling and roots are deprecated since 2026-07-28; the clients here are older."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        yield


@contextmanager
def noted(name: str) -> Iterator[None]:
    """Note when a tool begins, and how it ends."""
    gates = Gates.of_process()
    gates.note(name, "started")
    try:
        yield
    except asyncio.CancelledError:
        gates.note(name, "cancelled")
        raise
    gates.note(name, "finished")


@server.tool()
async def echo(text: str) -> dict[str, Any]:
    """The text as it came, and the process that had it."""
    return {"text": text, "pid": os.getpid()}


@server.tool(structured_output=False)
async def session_key(ctx: AnyContext) -> str:
    """The session's public name."""
    return get_session(ctx).key


@server.tool(structured_output=False)
async def quiet(gate: str) -> str:
    """Wait at the gate and say nothing before."""
    with noted(gate):
        await Gates.of_process().wait(gate)
    return f"done by {os.getpid()}"


@server.tool(structured_output=False)
async def steps(gates: list[str], ctx: AnyContext) -> str:
    """Report a step, and wait at its gate before the next; the notes are the first gate's."""
    with noted(gates[0]):
        for number, gate in enumerate(gates, 1):
            await ctx.report_progress(number, len(gates), gate)
            await Gates.of_process().wait(gate)
    return f"done by {os.getpid()}"


@server.tool(structured_output=False)
async def count(n: int, gate: str, ctx: AnyContext) -> str:
    """Report one step, wait at the gate, and report the others as fast as it goes."""
    for number in range(1, n + 1):
        await ctx.report_progress(number, n)
        if number == 1:
            await Gates.of_process().wait(gate)
    return f"done by {os.getpid()}"


@server.tool(structured_output=False)
async def poll(gate: str, ctx: AnyContext) -> str:
    """Have the client come back for the result."""
    await ctx.close_sse_stream()
    await Gates.of_process().wait(gate)
    return f"done by {os.getpid()}"


@server.tool(structured_output=False)
async def ask(question: str, ctx: AnyContext) -> str:
    """Ask the user; what came back, or the error of it."""
    try:
        answer = await ctx.session.elicit_form(question, NAME_SCHEMA, ctx.request_id)
    except MCPError as error:
        return json.dumps({"code": error.code, "message": error.message})
    return json.dumps({"question": question, "action": answer.action, "content": answer.content})


@server.tool(structured_output=False)
async def sample(prompt: str, ctx: AnyContext, gate: str | None = None) -> str:
    """Ask the client's model; the progress it reports is noted."""

    async def on_progress(done: float, total: float | None, message: str | None) -> None:
        Gates.of_process().note(str(gate), f"progress {done:g}")

    message = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    request = CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=10))
    answer = await ctx.session.send_request(
        request, CreateMessageResult, progress_callback=on_progress if gate else None
    )
    assert isinstance(answer.content, TextContent)
    return answer.content.text


@server.tool(structured_output=False)
async def roots(ctx: AnyContext) -> str:
    """The client's roots."""
    with handshake_era():
        found = await ctx.session.list_roots()
    return json.dumps([str(root.uri) for root in found.roots])


@server.tool(structured_output=False)
async def say(texts: list[str], ctx: AnyContext) -> str:
    """Log on the session's standalone stream: it belongs to no request."""
    for text in texts:
        with handshake_era():
            await ctx.session.send_log_message("info", text)
    return "said"


@server.tool(structured_output=False)
async def hold_taken(gate: str) -> str:
    """From now on what this process takes of streams waits at the gate before it is sent; that is noted."""
    store, gates = get_store(), Gates.of_process()
    read = store.aread

    async def read_and_wait(*args: Any, worker: str = "", **options: Any) -> Any:
        reading = await read(*args, worker=worker, **options)
        if worker and reading and reading.events:
            gates.note(gate, "taken")
            await gates.wait(gate)
        return reading

    vars(store)["aread"] = read_and_wait
    return "held"


@server.tool(structured_output=False)
async def log(levels: list[str], ctx: AnyContext) -> str:
    """Log something of each level on this call's stream."""
    for level in levels:
        with handshake_era():
            await ctx.log(level, level)  # type: ignore[arg-type]
    return "logged"


@server.tool(structured_output=False)
async def announce(event: str, text: str, ctx: AnyContext) -> str:
    """Send a named event to the session's open streams."""
    return "sent" if await get_session(ctx).send_event(event, {"text": text}) else "not sent"


@server.tool()
async def add(item: str, session: Session) -> list[str]:
    """Put something into the session's basket."""
    async with session.edit() as data:
        data.setdefault("basket", []).append(item)
    return list(data["basket"])


@server.tool()
def basket(session: Session) -> list[str]:
    """What is in the basket."""
    return list(session.data.get("basket", []))


@server.resource("board://{name}")
async def board(name: str) -> str:
    """Something to subscribe to."""
    return f"board {name}"
