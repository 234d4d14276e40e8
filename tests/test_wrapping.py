"""The threads of tools: what is wrapped, what stays the author's, and who gets which thread."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from mcp.server.mcpserver import Context, MCPServer

from mcp_sessions.protocol.components import wrappers
from mcp_sessions.protocol.mcpserver import wrap_components
from mcp_sessions.protocol.mistakes import refuse
from mcp_sessions.protocol.servers import lowlevel
from mcp_sessions.protocol.threads import ThreadPool, own_thread
from mcp_sessions.runtime import adopt
from tests.doors.client import McpClient, call
from tests.doors.doors import open_door
from tests.hostile import double_in_thread, fast
from tests.servers import DEADLINE, server


class Slots:
    """A callable that cannot be referred to weakly, and equals others: it has no hash."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slots)

    def __call__(self, n: int) -> int:
        return 2 * n


def wrapper_of(function: Callable[..., Any]) -> Callable[..., Any]:
    return wrappers.of(function, refuse, False, False)


def test_a_function_has_one_wrapper(transactional_db: None) -> None:
    assert wrapper_of(double_in_thread) is wrapper_of(double_in_thread)
    wrapper = wrapper_of(double_in_thread)
    assert wrapper_of(wrapper) is wrapper
    assert wrapper(2) == "4"


def test_any_callable_can_be_wrapped(transactional_db: None) -> None:
    one, other = Slots(), Slots()
    wrapper: Callable[[int], int] = wrapper_of(one)
    assert wrapper(2) == 4
    assert wrapper_of(one) is wrapper is not wrapper_of(other)
    assert wrapper_of(wrapper) is wrapper


def test_a_function_is_forgotten_with_its_last_component() -> None:
    def function() -> Callable[[], None]:
        return lambda: None

    functions = [function() for _ in range(100)]
    kept = [wrapper_of(each) for each in functions]
    forgotten = weakref.ref(functions[0])
    del functions, kept
    gc.collect()
    assert forgotten() is None


async def test_an_authors_tools_stay_as_they_are(process: None, settings: Any) -> None:
    settings.MCP_SESSIONS = {
        **settings.MCP_SESSIONS,
        "SERVERS": {"/mcp": "tests.servers:server", "/fast": "tests.hostile:fast"},
    }
    door = open_door("mount")
    tool = server._tool_manager.get_tool("count_sessions")
    assert tool is not None
    before = tool.fn
    assert await (await McpClient(door).open()).call("count_sessions") == "1"
    assert tool.fn is before
    for _ in range(2):
        assert await (await McpClient(door, path="/fast").open()).call("double_in_thread", {"n": 2}) == "4"
    component = await fast.local_provider.get_tool("double_in_thread")
    assert component is not None and getattr(component, "fn", None) is double_in_thread
    await door.close()


async def test_what_is_added_later_is_served(process: None, settings: Any) -> None:
    author = MCPServer("grows")

    @author.tool()
    def grow(name: str, ctx: Context[Any, Any]) -> str:
        """Add a tool, by what the context has of the server."""
        ctx.mcp_server.add_tool(lambda: name, name=name)
        return ctx.mcp_server.name

    settings.MCP_SESSIONS = {"SERVERS": {"/mcp": "tests.test_wrapping:grows"}}
    globals()["grows"] = author
    door = open_door("mount")
    client = await McpClient(door).open()
    assert await client.call("grow", {"name": "leaf"}) == "grows"
    assert author._tool_manager.get_tool("leaf") is not None
    assert await client.call("leaf") == "leaf"
    author.remove_tool("leaf")
    assert (await client.ask(call("leaf")))["result"]["isError"] is True
    await door.close()


def test_a_handler_of_the_authors_own_stays() -> None:
    author = MCPServer("own")
    low = lowlevel(author)

    async def handle(ctx: Any, params: Any) -> Any:
        return {}

    for method in ("tools/call", "prompts/get"):
        low.add_request_handler(method, Any, handle)
    wrap_components(author, low)
    entry = low.get_request_handler("tools/call")
    assert entry is not None and entry.handler is handle


async def test_a_thread_is_free_when_all_that_was_begun_in_it_is_over(process: None) -> None:
    """A tool may leave a task that still waits in the tool's thread."""
    adopt()
    may_end, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def block() -> int:
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(DEADLINE)
        return threading.get_ident()

    async with own_thread():
        left = asyncio.create_task(sync_to_async(block)())
        await asyncio.wait_for(begun.wait(), DEADLINE)
    async with own_thread():
        other = await asyncio.wait_for(sync_to_async(threading.get_ident)(), DEADLINE / 2)
    may_end.set()
    assert await left != other


async def test_a_shared_thread_is_idle_when_all_have_given_it_back(process: None, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "TOOL_THREADS": 1}
    pool = ThreadPool(adopt())
    one, other = pool.take(), pool.take()
    assert one is other
    pool.give(one)
    assert not pool._idle
    pool.give(other)
    assert pool._idle == [one]
