"""Servers whose handlers raise what no handler should: one of each library, and one tool of everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from fastmcp import FastMCP
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    Completion,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListToolsResult,
    ReadResourceRequestParams,
    ReadResourceResult,
)


async def await_what_somebody_cancelled() -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    task.cancel()
    await task


async def cancel_own_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def cancel_own_task_at_the_end() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def raises(make: Callable[..., BaseException], *arguments: Any) -> Callable[[], Any]:
    async def fail() -> None:
        raise make(*arguments)

    return fail


HOW: Final[dict[str, Callable[[], Any]]] = {
    "foreign-cancellation": await_what_somebody_cancelled,
    "own-cancellation": cancel_own_task,
    "late-cancellation": cancel_own_task_at_the_end,
    "CancelledError": raises(asyncio.CancelledError),
    "SystemExit": raises(SystemExit, 3),
    "KeyboardInterrupt": raises(KeyboardInterrupt),
    "GeneratorExit": raises(GeneratorExit),
    "BaseExceptionGroup": raises(BaseExceptionGroup, "group", [SystemExit(3)]),
    "data-that-is-no-json": raises(MCPError, -32000, "no", object()),
    "data-that-is-no-number": raises(MCPError, -32000, "no", float("nan")),
}
SYNCHRONOUS: Final = ("CancelledError", "SystemExit", "KeyboardInterrupt", "GeneratorExit")
"""What a thread can raise."""


async def misbehave(how: str) -> str:
    await HOW[how]()
    return "done"


def misbehave_in_thread(how: str) -> str:
    misbehave(how).send(None)
    return "done"


async def fail_in_these_words(words: str) -> str:
    """As an exception that is none of the library's, and so is logged."""
    raise SystemExit(words)


async def double(n: int) -> str:
    return str(2 * n)


def double_in_thread(n: int) -> str:
    return str(2 * n)


def add_everything(server: Any) -> None:
    """The same tools, resources and prompts for both libraries with decorators."""
    server.tool()(misbehave)
    server.tool()(misbehave_in_thread)
    server.resource("misbehave://{how}")(misbehave)
    server.prompt("misbehave")(misbehave)
    server.tool()(fail_in_these_words)
    for function in (double, double_in_thread):
        server.tool()(function)
        server.resource(f"{function.__name__.replace('_', '-')}://{{n}}")(function)
        server.prompt(function.__name__)(function)


server: Final = MCPServer("hostile")
add_everything(server)


@server.tool()
async def report_and_misbehave(how: str, ctx: Context[Any, Any]) -> str:
    await ctx.report_progress(1, 2)
    return await misbehave(how)


may_end: Final = asyncio.Event()


@server.tool()
async def do_not_stop() -> str:
    """Take no notice of being cancelled, until the test lets it end."""
    while not may_end.is_set():
        try:
            await may_end.wait()
        except asyncio.CancelledError:
            continue
    return "over"


@server.completion()
async def complete(ref: Any, argument: Any, context: Any) -> Completion | None:
    await misbehave(argument.value)
    return None


fast: Final[FastMCP[Any]] = FastMCP("hostile")
add_everything(fast)

Request = ServerRequestContext[Any, Any]


async def call_tool(_: Request, params: CallToolRequestParams) -> CallToolResult:
    await misbehave((params.arguments or {})["how"])
    return CallToolResult(content=[])


async def read_resource(_: Request, params: ReadResourceRequestParams) -> ReadResourceResult:
    await misbehave(str(params.uri).removeprefix("misbehave://"))
    return ReadResourceResult(contents=[])


async def get_prompt(_: Request, params: GetPromptRequestParams) -> GetPromptResult:
    await misbehave((params.arguments or {})["how"])
    return GetPromptResult(messages=[])


async def complete_low(_: Request, params: CompleteRequestParams) -> Any:
    await misbehave(params.argument.value)


async def list_tools(_: Request, __: Any) -> ListToolsResult:
    return ListToolsResult(tools=[])


async def list_prompts(_: Request, __: Any) -> ListPromptsResult:
    return ListPromptsResult(prompts=[])


async def list_resources(_: Request, __: Any) -> ListResourcesResult:
    return ListResourcesResult(resources=[])


async def meddle(ctx: Request, call_next: Any) -> Any:
    """A middleware of the author's: it misbehaves where the client asks for it."""
    if how := ((ctx.params or {}).get("_meta") or {}).get("how"):
        await misbehave(how)
    return await call_next(ctx)


low: Final[Server[Any]] = Server(
    "hostile",
    on_list_tools=list_tools,
    on_call_tool=call_tool,
    on_list_prompts=list_prompts,
    on_get_prompt=get_prompt,
    on_list_resources=list_resources,
    on_read_resource=read_resource,
    on_completion=complete_low,
)
low.middleware.append(meddle)
