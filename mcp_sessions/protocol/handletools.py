"""What clients see of sessions in each revision: the parameters of tools, and tools for handles.

In 2026-07-28 clients open, list and end sessions by three tools of ours. They come with the first tool that
takes a handle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

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
from mcp_sessions.exceptions import RequestError, SessionNotFound
from mcp_sessions.lifecycle import end, list_handles, open_handle
from mcp_sessions.protocol.admission import admitted_handle, admitted_key
from mcp_sessions.protocol.handles import END, LIST, OPEN, UNKNOWN, Caller, get_caller
from mcp_sessions.protocol.outages import before_work
from mcp_sessions.protocol.outcomes import tool_error
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.state import session_parameters
from mcp_sessions.throttling import limit_opening

Request = ServerRequestContext[Any, Any]

MAX_LISTED: Final = 100
"""Sessions in one answer, those that were used last."""


def add(low: Server[Any], endpoint: str) -> None:
    """Show the parameters as each revision needs them, on a prepared copy of a server."""
    listing, calling = low.get_request_handler("tools/list"), low.get_request_handler("tools/call")
    if listing is None or calling is None:
        return
    tools = Tools(listing.handler, calling.handler, endpoint)
    low.add_request_handler("tools/list", PaginatedRequestParams, tools.list_tools)
    low.add_request_handler("tools/call", CallToolRequestParams, tools.call_tool)


class Tools:
    """A server's tools, and, where they use handles, those that open, list and end sessions."""

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
        if listed.next_cursor is not None:
            await self._look_through(ctx)
        shown = [_shown(tool) for tool in listed.tools]
        if listed.next_cursor is None and (caller := get_caller()) is not None:
            shown += self._own_tools(caller)
        # Principals with and without a session of their own see different schemas, on every page.
        private = {"cache_scope": "private"} if self._has_handles else {}
        return listed.model_copy(update={"tools": shown, **private})

    async def call_tool(self, ctx: Request, params: CallToolRequestParams) -> Any:
        if params.name not in _SERVE or (caller := get_caller()) is None:
            return await self._call(ctx, params)
        await self._look_through(ctx)
        if params.name not in {tool.name for tool in self._own_tools(caller)}:
            return await self._call(ctx, params)
        with before_work(params.name):
            return await _SERVE[params.name](caller, ctx, params.arguments or {})

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

    def _own_tools(self, caller: Caller) -> list[Tool]:
        """None where no tool takes a handle. A tool of the author's with the same name is the author's."""
        if not self._has_handles:
            return []
        # Whoever is anonymous has the handles alone: others at the same address are not to find them.
        ours = [_LIST_TOOL, _END_ANY_TOOL] if caller.owner else [_END_TOOL]
        return [tool for tool in (_open_tool(self._endpoint), *ours) if tool.name not in self._names]


def _shown(tool: Tool) -> Tool:
    """The tool with its handles as the caller has to know them."""
    parameters = session_parameters(tool.input_schema)
    if not parameters:
        return tool
    return tool.model_copy(update={"input_schema": _schema_for_caller(tool.input_schema, parameters)})


def _schema_for_caller(schema: Mapping[str, Any], parameters: list[str]) -> dict[str, Any]:
    caller = get_caller()
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
            "properties": {"label": {"type": "string", "description": "A short description of its purpose"}},
        },
        annotations=ToolAnnotations(destructive_hint=False, idempotent_hint=False, open_world_hint=False),
    )


_LIST_TOOL: Final = Tool(
    name=LIST,
    title="List sessions",
    description=(
        f"List your sessions that {OPEN} has opened and that have not ended: the key and label of each, "
        "and when it was opened, was last used and expires. Handles cannot be listed. A key is no handle: it "
        f"opens nothing. With the key, {END} ends a session whose handle was lost."
    ),
    input_schema={"type": "object", "properties": {}},
    annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
)


def _end_tool(properties: Mapping[str, Any], **more: Any) -> Tool:
    return Tool(
        name=END,
        title="End a session",
        description="End a session that is not needed any more. Its data is deleted.",
        input_schema={"type": "object", "properties": dict(properties), **more},
        annotations=ToolAnnotations(destructive_hint=True, idempotent_hint=True, open_world_hint=False),
    )


_BY_HANDLE: Final = {"session": {"type": "string", "description": f"The handle that {OPEN} returned"}}
_BY_KEY: Final = {"key": {"type": "string", "description": f"In place of the handle: the key by {LIST}"}}
_END_TOOL: Final = _end_tool(_BY_HANDLE, required=["session"])
_END_ANY_TOOL: Final = _end_tool({**_BY_HANDLE, **_BY_KEY})


async def _open(caller: Caller, ctx: Request, arguments: Mapping[str, Any]) -> CallToolResult:
    metadata = dict(caller.metadata)
    if isinstance(label := arguments.get("label"), str) and label:
        metadata["label"] = label[:200]
    try:
        await limit_opening(caller.exchange)
        handle, session = await open_handle(caller.endpoint, caller.owner, metadata)
    except RequestError as error:
        return tool_error(error.message)
    return _result({"session": handle, "expires_at": session.expires_at.isoformat()})


async def _list(caller: Caller, ctx: Request, arguments: Mapping[str, Any]) -> CallToolResult:
    found = await list_handles(caller.exchange, MAX_LISTED)
    return _result({"sessions": [_listed(session) for session in found]})


def _listed(session: SessionRecord) -> dict[str, Any]:
    return {
        "key": session.key,
        "label": session.metadata.get("label", ""),
        "created_at": session.created_at.isoformat(),
        "last_used_at": session.last_accessed_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
    }


async def _end(caller: Caller, ctx: Request, arguments: Mapping[str, Any]) -> CallToolResult:
    handle, key = arguments.get("session"), arguments.get("key")
    try:
        if caller.owner and handle is None:
            session = await admitted_key(caller.exchange, str(key))
        else:
            session = await admitted_handle(caller.exchange, str(handle))
    except SessionNotFound:
        return tool_error(UNKNOWN)
    await end(session.key, EndReason.DELETED)
    return _result({"ended": True})


def _result(content: Mapping[str, Any]) -> CallToolResult:
    text = TextContent(type="text", text=json.dumps(content))
    return CallToolResult(content=[text], structured_content=dict(content))


_SERVE: Final = {OPEN: _open, LIST: _list, END: _end}
