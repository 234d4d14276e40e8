"""JSON-RPC 2.0 messages: parsed, classified and encoded.

Source: the specification, "Base Protocol" and, for the statuses, "Transports".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from mcp_sessions.exceptions import RequestError

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

# NaN and Infinity are no JSON: whoever would send them gets a ValueError, not the client a broken message.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)

_LONG_INTEGER: Final = re.compile(rb"\d{309}")
"""What may be beyond the numbers that most parsers know (IEEE 754 doubles, RFC 8259 6)."""

RequestId = str | int
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    id: RequestId
    method: str
    params: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Notification:
    method: str
    params: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Response:
    """The client's answer to a request of ours: a result, or an error {code, message, data}.

    An error without an id answers nothing that the client could tell.
    """

    id: RequestId | None
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None


Message = Request | Notification | Response


def decode(body: bytes, max_depth: int) -> Any:
    """The body as JSON. Raises RequestError 400 with -32700 for anything else, and for what could not be
    sent on as JSON: deep nesting, and numbers that Python reads as infinity.
    """
    try:
        value = _loads(body)
    except UnicodeDecodeError:
        _fail("The body is not UTF-8.", PARSE_ERROR)
    except RecursionError:
        _fail(f"The body is nested deeper than {max_depth} levels.", PARSE_ERROR)
    except ValueError as error:
        _fail(f"The body is not JSON: {error}", PARSE_ERROR)
    # Who opens few brackets has not nested deeply: nearly every message is let through by that.
    if body.count(b"[") + body.count(b"{") > max_depth and _is_deeper(value, max_depth):
        _fail(f"The body is nested deeper than {max_depth} levels.", PARSE_ERROR)
    return value


def _loads(body: bytes) -> Any:
    hooks: dict[str, Any] = {"parse_constant": _refuse_constant, "parse_float": _finite}
    if _LONG_INTEGER.search(body):
        hooks["parse_int"] = _finite_integer
    return json.loads(body.decode("utf-8"), **hooks)


def encode(message: Any) -> str:
    """The message as JSON text in ASCII, so that any database keeps it and SSE can carry it."""
    return _ENCODER.encode(message)


def parse(value: Any) -> Message:
    """One message. Raises RequestError 400 with -32600 if it is none, without an id where it has none."""
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        _fail('The body is not a JSON-RPC 2.0 message: an object with "jsonrpc": "2.0" is expected.')
    if "method" in value:
        return _parse_call(value)
    return _parse_response(value)


def request_id_of(value: Any) -> RequestId | None:
    """The id a message asks to be answered under, or None."""
    found = value.get("id") if isinstance(value, dict) and "method" in value else None
    return found if _is_request_id(found) else None


def result(request_id: RequestId, value: Mapping[str, Any]) -> Json:
    return {"jsonrpc": "2.0", "id": request_id, "result": value}


def error(code: int, message: str, *, data: Any = None, request_id: RequestId | None = None) -> Json:
    """An error message; without a request id it has no `id` member: the specification's has no null."""
    body: Json = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    head: Json = {"jsonrpc": "2.0"} if request_id is None else {"jsonrpc": "2.0", "id": request_id}
    return {**head, "error": body}


def notification(method: str, params: Mapping[str, Any] | None) -> Json:
    message: Json = {"jsonrpc": "2.0", "method": method}
    return message if params is None else {**message, "params": params}


def request(request_id: RequestId, method: str, params: Mapping[str, Any] | None) -> Json:
    return {**notification(method, params), "id": request_id}


def _parse_call(value: Json) -> Request | Notification:
    method, params = value["method"], value.get("params")
    if not isinstance(method, str):
        _fail("A JSON-RPC method is a string.")
    if params is not None and not isinstance(params, dict):
        _fail("JSON-RPC params are an object here.")
    if "id" not in value:
        return Notification(method, params)
    if not _is_request_id(value["id"]):
        _fail("The id of a JSON-RPC request is a string or an integer.")
    return Request(value["id"], method, params)


def _parse_response(value: Json) -> Response:
    found_result, found_error = value.get("result"), value.get("error")
    if ("result" in value) == ("error" in value):
        _fail("A JSON-RPC message has a method, or else exactly one of result and error.")
    if not (_is_request_id(value.get("id")) or ("error" in value and value.get("id") is None)):
        _fail("The id of a JSON-RPC response is a string or an integer.")
    if "result" in value and not isinstance(found_result, dict):
        _fail("The result of a JSON-RPC response is an object here.")
    if "error" in value and not _is_error(found_error):
        _fail("The error of a JSON-RPC response is an object with a code and a message.")
    return Response(value.get("id"), found_result, found_error)


def _is_request_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _is_error(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("code"), int)
        and isinstance(value.get("message"), str)
    )


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether objects and arrays are nested in more levels than these; without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        inner = (each for outer in level for each in (outer.values() if isinstance(outer, dict) else outer))
        level = [each for each in inner if isinstance(each, dict | list)]
    return bool(level)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _finite(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _finite_integer(text: str) -> int:
    _finite(text)
    return int(text)


def _fail(message: str, code: int = INVALID_REQUEST) -> NoReturn:
    raise RequestError(400, message, code=code)
