"""The server object of the soak: every tool's result, progress and messages are known beforehand."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp_types import SamplingMessage, TextContent

from mcp_sessions import get_session
from mcp_sessions.exceptions import StoreUnavailable

LONGER_THAN_ANY_SOAK: Final = 24 * 3600
RETRY_SECONDS: Final = 0.1
PADDING: Final = "x" * 4000
WORD: Final = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}

AnyContext = Context[Any, Any]
server: Final = MCPServer("soak")


@contextmanager
def handshake_era() -> Iterator[None]:
    """Logging and sampling are given up in 2026-07-28, and alive in the revisions before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        yield


async def report(ctx: AnyContext, n: int, delay: float) -> None:
    for step in range(1, n + 1):
        await ctx.report_progress(step, n)
        await asyncio.sleep(delay)


@server.tool(structured_output=False)
async def quick(word: str) -> str:
    """Answered at once."""
    return word


@server.tool(structured_output=False)
async def count(word: str, n: int, delay: float, ctx: AnyContext) -> str:
    """n numbered events, then the result."""
    await report(ctx, n, delay)
    return word


@server.tool(structured_output=False)
async def flood(word: str, n: int, ctx: AnyContext) -> str:
    """n numbered events, each of some size, as fast as they are taken; then the result."""
    for step in range(1, n + 1):
        await ctx.report_progress(step, n, PADDING)
    return word


@server.tool(structured_output=False)
async def quiet(word: str, delay: float) -> str:
    """Nothing for a while, then the result."""
    await asyncio.sleep(delay)
    return word


@server.tool(structured_output=False)
async def ask(n: int, delay: float, ctx: AnyContext) -> str:
    """n numbered events, then a question to the user; the answer is the result."""
    await report(ctx, n, delay)
    # The question names its call: on a stream that all calls share nothing else does.
    answer = await ctx.session.elicit_form(str(ctx.request_id), WORD, ctx.request_id)
    return str((answer.content or {}).get("word"))


@server.tool(structured_output=False)
async def sample(n: int, delay: float, ctx: AnyContext) -> str:
    """n numbered events, then a question to the client's model; the answer is the result."""
    await report(ctx, n, delay)
    message = SamplingMessage(role="user", content=TextContent(type="text", text="Which word?"))
    with handshake_era():
        asking = ctx.session.create_message([message], max_tokens=9, related_request_id=ctx.request_id)
    return str(getattr((await asking).content, "text", None))


@server.tool(structured_output=False)
async def forever(ctx: AnyContext) -> str:
    """One event, and never a result: only a cancellation ends it, or the end of its session."""
    await ctx.report_progress(1)
    await asyncio.sleep(LONGER_THAN_ANY_SOAK)
    return "after a day"


@server.tool(structured_output=False)
async def announce(word: str, source: str, n: int, ctx: AnyContext) -> str:
    """n numbered log messages on the session's GET stream."""
    for number in range(1, n + 1):
        with handshake_era():
            sending = ctx.session.send_log_message("info", {"source": source, "number": number})
        await sending
    return word


async def is_sent(ctx: AnyContext, numbered: dict[str, Any]) -> bool:
    """False while the store is unavailable; then nothing was sent."""
    try:
        return await get_session(ctx).send_event("numbered", numbered)
    except StoreUnavailable:
        return False


@server.tool(structured_output=False)
async def tell(word: str, source: str, n: int, ctx: AnyContext) -> str:
    """n numbered events of the guide's kind on the session's GET stream."""
    for number in range(1, n + 1):
        while not await is_sent(ctx, {"source": source, "number": number}):
            await asyncio.sleep(RETRY_SECONDS)
    return word


@server.tool(structured_output=False)
async def key(ctx: AnyContext) -> str:
    """The session's public name."""
    return get_session(ctx).key
