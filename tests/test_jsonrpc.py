"""JSON-RPC messages: what is one, which kind it is, and what is written."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mcp_sessions import jsonrpc
from mcp_sessions.exceptions import RequestError
from mcp_sessions.jsonrpc import Notification, Request, Response

DEPTH = 20
ANY_TEXT = st.text(st.characters(exclude_categories=()))
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(ANY_TEXT, JSON, max_size=4)
IDS = ANY_TEXT | st.integers()


def refused(code: int, work: Any, *arguments: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        work(*arguments)
    assert (caught.value.status, caught.value.code) == (400, code)
    return caught.value


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@given(JSON)
def test_what_is_encoded_is_decoded(value: Any) -> None:
    text = jsonrpc.encode(value)
    assert text.isascii() and "\n" not in text and "\r" not in text
    assert jsonrpc.decode(text.encode(), 100) == value == json.loads(text)


@given(st.binary())
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        expected = json.loads(body.decode("utf-8"), parse_constant=lambda _: pytest.fail())
    except (ValueError, pytest.fail.Exception):
        refused(jsonrpc.PARSE_ERROR, jsonrpc.decode, body, DEPTH)
    else:
        assert jsonrpc.decode(body, DEPTH) == expected


@pytest.mark.parametrize(
    "body", [b"NaN", b"[Infinity]", b'{"a": -Infinity}', b"9" * 5000, b"\xff", b"", b"\xef\xbb\xbf{}"]
)
def test_what_is_no_json(body: bytes) -> None:
    refused(jsonrpc.PARSE_ERROR, jsonrpc.decode, body, DEPTH)


NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,350})(\.[0-9]{1,350})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)


@given(NUMBERS)
@example("1e400")
@example("-1e400")
@example("9" * 309)
@example("-" + "9" * 4000)
def test_a_number_is_one_that_can_be_sent_on(text: str) -> None:
    """Python reads 1e400 as infinity, which no JSON has a word for."""
    for body in (text, f"[{text}]", f'{{"a":{{"b":[{text}]}}}}'):
        if math.isinf(float(text)):
            refused(jsonrpc.PARSE_ERROR, jsonrpc.decode, body.encode(), DEPTH)
        else:
            value = jsonrpc.decode(body.encode(), DEPTH)
            assert jsonrpc.decode(jsonrpc.encode(value).encode(), DEPTH) == value


def test_long_numbers_in_strings_are_strings() -> None:
    digits = "9" * 5000
    assert jsonrpc.decode(f'["{digits}", 1]'.encode(), DEPTH) == [digits, 1]
    largest = 10**308
    assert jsonrpc.decode(f'["{digits}", {largest}]'.encode(), DEPTH)[1] == largest


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, [-math.inf], {"a": math.nan}, object(), {(1,): 1}, b"a"]
)
def test_what_is_no_json_is_not_written(value: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        jsonrpc.encode(value)


def test_depth_is_counted_in_levels() -> None:
    assert jsonrpc.decode(nested(DEPTH), DEPTH) is not None
    for depth in (DEPTH + 1, 500, 5_000, 100_000):
        refused(jsonrpc.PARSE_ERROR, jsonrpc.decode, nested(depth), DEPTH)
        refused(jsonrpc.PARSE_ERROR, jsonrpc.decode, b'{"a":' * depth + b"1" + b"}" * depth, DEPTH)
    # Breadth is not depth, and brackets in strings are neither.
    assert len(jsonrpc.decode(b"[" + b"[],{}," * 1000 + b"[]]", 2)) == 2001
    assert jsonrpc.decode(b'"' + b"[{" * 1000 + b'"', 1) == "[{" * 1000
    assert jsonrpc.decode(b"1", 1) == 1


@given(IDS, ANY_TEXT, st.none() | OBJECTS)
def test_requests_and_notifications(id: Any, method: str, params: dict[str, Any] | None) -> None:
    request = jsonrpc.request(id, method, params)
    assert jsonrpc.parse(request) == Request(id, method, params)
    assert jsonrpc.request_id_of(request) == id
    notification = jsonrpc.notification(method, params)
    assert jsonrpc.parse(notification) == Notification(method, params)
    assert jsonrpc.request_id_of(notification) is None
    assert ("params" in request) == ("params" in notification) == (params is not None)


@given(IDS, OBJECTS, st.integers(), ANY_TEXT, JSON)
def test_responses(id: Any, result: dict[str, Any], code: int, message: str, data: Any) -> None:
    assert jsonrpc.parse(jsonrpc.result(id, result)) == Response(id, result, None)
    error = jsonrpc.error(code, message, data=data, request_id=id)
    assert jsonrpc.parse(error) == Response(id, None, error["error"])
    assert ("data" in error["error"]) == (data is not None)
    assert jsonrpc.request_id_of(error) is None


def test_an_error_without_a_request_has_no_id() -> None:
    assert jsonrpc.error(-32700, "no") == {"jsonrpc": "2.0", "error": {"code": -32700, "message": "no"}}


@given(JSON)
def test_anything_else_is_refused(value: Any) -> None:
    """Random JSON is no message: "jsonrpc" would have to be there and to be "2.0"."""
    refused(jsonrpc.INVALID_REQUEST, jsonrpc.parse, value)


NO_IDS: list[Any] = [None, True, False, 1.5, [], {}]
NO_STRINGS: list[Any] = [None, 1, [], {}, True]
NO_OBJECTS: list[Any] = [[], "a", 1, True]
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@pytest.mark.parametrize(
    "changes",
    [
        *({"id": each} for each in NO_IDS),
        *({"method": each} for each in NO_STRINGS),
        *({"params": each} for each in NO_OBJECTS),
        *({"jsonrpc": each} for each in ("1.0", 2.0, 2, None, "2.0 ")),
    ],
    ids=repr,
)
def test_what_is_no_request(changes: dict[str, Any]) -> None:
    refused(jsonrpc.INVALID_REQUEST, jsonrpc.parse, {**PING, **changes})


@pytest.mark.parametrize(
    "rest",
    [
        {},
        {"result": {}, "error": {"code": 1, "message": "a"}},
        {"result": None},
        {"result": []},
        {"error": None},
        {"error": {"code": "1", "message": "a"}},
        {"error": {"code": 1}},
        {"error": {"message": "a"}},
        {"error": {"code": 1, "message": 1}},
    ],
    ids=repr,
)
def test_what_is_no_response(rest: dict[str, Any]) -> None:
    refused(jsonrpc.INVALID_REQUEST, jsonrpc.parse, {"jsonrpc": "2.0", "id": 1, **rest})


def test_one_and_true_are_not_the_same_id() -> None:
    assert jsonrpc.request_id_of({**PING, "id": True}) is None
    assert jsonrpc.request_id_of([PING]) is None
    assert jsonrpc.parse(PING) == Request(1, "ping", None) != jsonrpc.parse({**PING, "id": "1"})
