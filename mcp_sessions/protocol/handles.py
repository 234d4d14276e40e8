"""Sessions of tools in every revision: `session: Session` as a parameter.

In revisions with a handshake the session is the protocol's, and the parameter is not shown to clients. In
2026-07-28 it is a handle, an argument like any other (transport.md 6.11). The tools `open_session` and
`end_session` come with it.
"""

from __future__ import annotations

import functools
import inspect
import json
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import RateLimited, RequestError, SessionNotFound
from mcp_sessions.exchange import Exchange
from mcp_sessions.lifecycle import end, find_own, open_handle
from mcp_sessions.protocol.admission import admitted_handle, opening_metadata
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import run, run_sync
from mcp_sessions.state import RequestedSession, SessionState, current_session, session_parameters
from mcp_sessions.throttling import limit_opening, limit_session

Refuse = Callable[[str], NoReturn]
Request = ServerRequestContext[Any, Any]

OPEN: Final = "open_session"
END: Final = "end_session"
NAMED: Final = frozenset({"tools/call", "resources/read", "prompts/get"})
"""What may need a session."""
MISSING: Final = (
    f"This tool needs a session. Call {OPEN} first, and pass the handle that it returns as {{!r}}."
)
UNKNOWN: Final = (
    f"This session has expired, has ended, or is not yours. Call {OPEN} to open another; "
    "what the old one kept is gone."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request of 2026-07-28, to which endpoint."""

    exchange: Exchange = field(repr=False)

    @property
    def endpoint(self) -> str:
        return self.exchange.endpoint

    @property
    def owner(self) -> str:
        return self.exchange.owner

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What a session keeps of the request that opens it."""
        return opening_metadata(self.exchange)


_caller: ContextVar[Caller | None] = ContextVar("mcp_caller", default=None)


@contextmanager
def called_by(caller: Caller) -> Iterator[None]:
    """Serve a request of 2026-07-28: its sessions are this caller's."""
    token = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(token)


def get_caller() -> Caller | None:
    """Who sent the request of 2026-07-28 that is being served; None in other revisions."""
    return _caller.get()


async def own_session(caller: Caller, method: str) -> SessionRecord | None:
    """The session that an authenticated caller has without a handle, for what may need one."""
    if not caller.owner or method not in NAMED:
        return None
    try:
        return await find_own(caller.endpoint, caller.owner, caller.metadata)
    except RequestError as error:
        if error.data is None or error.data.get("reason") != "session_limit":
            raise
        # Most tools need none. One that does is told to open a session, and why there is no room for it.
        return None


# -- what a tool gets ----------------------------------------------------------------------------

_wrappers: weakref.WeakValueDictionary[tuple[int, Refuse], Callable[..., Any]] = weakref.WeakValueDictionary()
"""By the id of the function that each wraps, and so keeps; server libraries cache schemas by function. Two
libraries, which have errors of their own, may serve the same one.
"""


def with_sessions(tool: Any, refuse: Refuse) -> Any:
    """The tool; a copy of it, if it has parameters that are sessions: its function gets sessions for them."""
    if not session_parameters(tool.parameters):
        return tool
    return tool.model_copy(update={"fn": _wrapper(tool.fn, refuse)})


def _wrapper(function: Callable[..., Any], refuse: Refuse) -> Callable[..., Any]:
    if (known := _wrappers.get((id(function), refuse))) is not None:
        return known

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **await _filled(kwargs, refuse))

    @functools.wraps(function)
    def call_in_thread(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **run_sync(_filled(kwargs, refuse)))

    _wrappers[id(function), refuse] = made = call if inspect.iscoroutinefunction(function) else call_in_thread
    return made


async def _filled(arguments: Mapping[str, Any], refuse: Refuse) -> dict[str, Any]:
    """The arguments, with sessions in place of what asks for them."""
    return {
        name: await _session(name, value.handle, refuse) if isinstance(value, RequestedSession) else value
        for name, value in arguments.items()
    }


async def _session(parameter: str, handle: str | None, refuse: Refuse) -> SessionState:
    caller, own = _caller.get(), current_session.get()
    if own is not None and (caller is None or handle is None):
        return own
    if caller is None or handle is None:
        refuse(MISSING.format(parameter))
    try:
        return SessionState(await run(_limited_handle(caller.exchange, handle)))
    except SessionNotFound:
        refuse(UNKNOWN)
    except RateLimited as error:
        refuse(error.message)


async def _limited_handle(exchange: Exchange, handle: str) -> SessionRecord:
    """The session of a handle, for one message more. Raises SessionNotFound and RateLimited."""
    session = await admitted_handle(exchange, handle)
    await limit_session(exchange, session)
    return session


# -- what a client sees --------------------------------------------------------------------------


def add(low: Server[Any], endpoint: str) -> None:
    """Show the parameters as each revision needs them, on a prepared copy of a server."""
    listing, calling = low.get_request_handler("tools/list"), low.get_request_handler("tools/call")
    if listing is None or calling is None:
        return
    tools = Tools(listing.handler, calling.handler, endpoint)
    low.add_request_handler("tools/list", PaginatedRequestParams, tools.list_tools)
    low.add_request_handler("tools/call", CallToolRequestParams, tools.call_tool)


class Tools:
    """A server's tools, and, where they use handles, those that open and end sessions."""

    def __init__(self, list_tools: Any, call_tool: Any, endpoint: str) -> None:
        self._list = list_tools
        self._call = call_tool
        self._endpoint = endpoint
        self._names: set[str] = set()
        self._has_handles = False
        self._is_complete = False

    async def list_tools(self, ctx: Request, params: PaginatedRequestParams) -> ListToolsResult:
        listed: ListToolsResult = await self._list(ctx, params)
        self._learn(listed)
        shown = [_shown(tool) for tool in listed.tools]
        if listed.next_cursor is None and _caller.get() is not None:
            shown += self._own_tools()
        return listed.model_copy(update={"tools": shown})

    async def call_tool(self, ctx: Request, params: CallToolRequestParams) -> Any:
        if params.name not in (OPEN, END) or (caller := _caller.get()) is None:
            return await self._call(ctx, params)
        await self._look_through(ctx)
        if params.name not in {tool.name for tool in self._own_tools()}:
            return await self._call(ctx, params)
        serve = _open if params.name == OPEN else _end
        return await serve(caller, ctx, params.arguments or {})

    def _learn(self, listed: ListToolsResult) -> None:
        self._names.update(tool.name for tool in listed.tools)
        self._has_handles |= any(session_parameters(tool.input_schema) for tool in listed.tools)
        self._is_complete |= listed.next_cursor is None

    async def _look_through(self, ctx: Request) -> None:
        """Know the author's tools, also if this process has listed none of them."""
        params = PaginatedRequestParams()
        while not self._is_complete:
            listed = await self._list(ctx, params)
            self._learn(listed)
            params = PaginatedRequestParams(cursor=listed.next_cursor)

    def _own_tools(self) -> list[Tool]:
        """None where no tool takes a handle. A tool of the author's with the same name is the author's."""
        if not self._has_handles:
            return []
        return [tool for tool in (_open_tool(self._endpoint), _END_TOOL) if tool.name not in self._names]


def _shown(tool: Tool) -> Tool:
    """The tool with its handles as the caller has to know them."""
    parameters = session_parameters(tool.input_schema)
    if not parameters:
        return tool
    return tool.model_copy(update={"input_schema": _schema_for_caller(tool.input_schema, parameters)})


def _schema_for_caller(schema: Mapping[str, Any], parameters: list[str]) -> dict[str, Any]:
    caller = _caller.get()
    required = [name for name in schema.get("required", ()) if name not in parameters]
    if caller is None:
        properties = {name: each for name, each in schema["properties"].items() if name not in parameters}
        return _with_required({**schema, "properties": properties}, required)
    # Who has a session without a handle need not name one.
    return _with_required(dict(schema), required if caller.owner else [*required, *parameters])


def _with_required(schema: dict[str, Any], required: list[str]) -> dict[str, Any]:
    rest = {name: value for name, value in schema.items() if name != "required"}
    return {**rest, "required": required} if required else rest


def _open_tool(endpoint: str) -> Tool:
    seconds = AppSettings(endpoint).SESSION_TIMEOUT
    return Tool(
        name=OPEN,
        title="Open a session",
        description=(
            "Open a session, which keeps state for the tools that take one. Returns its handle: pass it in "
            f"every call that belongs together. A session ends when it was not used for {seconds:g} seconds, "
            f"or by {END}."
        ),
        input_schema={
            "type": "object",
            "properties": {"label": {"type": "string", "description": "What it is for, in a few words"}},
        },
        annotations=ToolAnnotations(destructive_hint=False, idempotent_hint=False, open_world_hint=False),
    )


_END_TOOL: Final = Tool(
    name=END,
    title="End a session",
    description="End a session that is not needed any more. What it kept is deleted.",
    input_schema={
        "type": "object",
        "properties": {"session": {"type": "string", "description": f"The handle that {OPEN} returned"}},
        "required": ["session"],
    },
    annotations=ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False),
)


async def _open(caller: Caller, ctx: Request, arguments: Mapping[str, Any]) -> CallToolResult:
    metadata = {**caller.metadata, **_client(ctx)}
    if isinstance(label := arguments.get("label"), str) and label:
        metadata["label"] = label[:200]
    try:
        await limit_opening(caller.exchange)
        handle, session = await open_handle(caller.endpoint, caller.owner, metadata)
    except RequestError as error:
        return _result({"error": error.message}, is_error=True)
    return _result({"session": handle, "expires_at": session.expires_at.isoformat()})


async def _end(caller: Caller, ctx: Request, arguments: Mapping[str, Any]) -> CallToolResult:
    try:
        session = await admitted_handle(caller.exchange, str(arguments.get("session", "")))
    except SessionNotFound:
        return _result({"error": UNKNOWN}, is_error=True)
    await end(session.key, EndReason.DELETED)
    return _result({"ended": True})


def _client(ctx: Request) -> dict[str, Any]:
    """What the client says about itself."""
    params = ctx.session.client_params
    if params is None:
        return {}
    said = params.model_dump(by_alias=True, mode="json", exclude_none=True)
    return {"client": said["clientInfo"]}


def _result(content: Mapping[str, Any], *, is_error: bool = False) -> CallToolResult:
    text = content["error"] if is_error else json.dumps(content)
    structured = None if is_error else dict(content)
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=structured, is_error=is_error
    )
