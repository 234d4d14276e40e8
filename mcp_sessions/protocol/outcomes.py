"""What came of a request, as it is kept and handed on: a result, or a JSON-RPC error."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mcp.server.context import HandlerResult
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp_types import CallToolResult, TextContent

from mcp_sessions import jsonrpc


def result_of(message: jsonrpc.Json) -> dict[str, Any]:
    """The result that a message has. Raises MCPError if it has an error."""
    if (error := message.get("error")) is not None:
        raise MCPError(error["code"], error["message"], error.get("data"))
    result: dict[str, Any] = message["result"]
    return result


def as_json(result: HandlerResult) -> dict[str, Any]:
    """A handler's result as it is sent."""
    if result is None:
        return {}
    if isinstance(result, Mapping):
        return dict(result)
    return dict(result.model_dump(by_alias=True, mode="json", exclude_none=True))


def as_text(result: HandlerResult, error: BaseException | None) -> str:
    """Either of them as JSON text, for result_of()."""
    if error is None:
        return jsonrpc.encode({"result": as_json(result)})
    if (known := handler_exception_to_error_data(error)) is not None:
        # An error whose data is not JSON is the handler's mistake, like any other exception.
        with suppress(TypeError, ValueError, RecursionError):
            return jsonrpc.encode(jsonrpc.error(known.code, known.message, data=known.data))
    return jsonrpc.encode(jsonrpc.error(jsonrpc.INTERNAL_ERROR, "Internal server error"))


def has_failed(result: HandlerResult) -> bool:
    """Whether it is the result of a tool that reports an error."""
    return bool(field_of(result, "isError", "is_error"))


def field_of(result: Any, name: str, attribute: str) -> Any:
    """A field of a handler's result, which may be a model or its JSON."""
    return result.get(name) if isinstance(result, Mapping) else getattr(result, attribute, None)


def tool_error(text: str) -> CallToolResult:
    """A result that tells the model what is wrong."""
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
