"""Requests as everything below the doors knows them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions import exchange as exchange_module
from mcp_sessions.exchange import SINGULAR, Exchange, accepts, header_map
from mcp_sessions.principals import Principal
from mcp_sessions.protocol.session_ids import RequestedId
from mcp_sessions.sse import Sealed

JSON, SSE = "application/json", "text/event-stream"
BYTES = st.binary(max_size=20)


def exchange(query: str = "") -> Exchange:
    return Exchange("GET", "/mcp", "/mcp", {}, query)


@pytest.mark.parametrize(
    ("accept", "json", "sse"),
    [
        (None, True, True),
        ("*/*", True, True),
        ("application/json, text/event-stream", True, True),
        ("text/event-stream,application/json", True, True),
        ("APPLICATION/JSON , Text/Event-Stream", True, True),
        ("application/*", True, False),
        ("text/*;q=0.1", False, True),
        ("application/json;q=0", False, False),
        ("application/json; q=0.000, text/event-stream;q=0.001", False, True),
        ("application/json;charset=utf-8;q=0.5", True, False),
        ("application/json;q=", True, False),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", True, True),
        ("*/*;q=0", False, False),
        ("text/html", False, False),
        ("application/jsonp", False, False),
        ("*", False, False),
        ("", False, False),
        (",,;;==", False, False),
    ],
)
def test_what_an_accept_header_admits(accept: str | None, json: bool, sse: bool) -> None:
    assert (accepts(accept, JSON), accepts(accept, SSE)) == (json, sse)


@given(st.text())
def test_any_accept_header_is_answered(accept: str) -> None:
    assert accepts(accept, JSON) in (True, False)
    assert accepts(f"{accept},{JSON}", JSON)


@given(st.lists(st.tuples(BYTES, BYTES)))
def test_any_headers_are_taken(pairs: list[tuple[bytes, bytes]]) -> None:
    decoded = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
    assert set(header_map(decoded)) == {name.lower() for name, _ in decoded}


def test_repeated_headers_are_joined_in_their_order() -> None:
    pairs = [("Accept", "a"), ("X", "\xe4"), ("accept", "b"), ("ACCEPT", "c"), ("x", "\xe4")]
    assert header_map(pairs) == {"accept": "a, b, c", "x": "\xe4, \xe4"}


@pytest.mark.parametrize("value", ["a", " a", "a\t ", "a, a", "a,a ,\ta"])
def test_copies_that_agree_are_one_value(value: str) -> None:
    for name in sorted(SINGULAR):
        assert header_map([(name.title(), value)]) == {name: "a"}
        assert header_map([(name, value), (name.upper(), "a")]) == {name: "a"}
        assert header_map([(name, value), (name, "b")])[name] not in {"a", "b"}


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("", []),
        ("a=1", []),
        ("session_id=x", ["x"]),
        ("a=1&session_id=x&b=2", ["x"]),
        ("session_id=x&session_id=y", ["x", "y"]),
        ("session_id=", []),
        ("session_id", []),
        ("my_session_id=x", []),
        ("session_id=%41%2B+b", ["A+ b"]),
        ("session_id=%ff", ["\ufffd"]),
        ("&&=&session_id=x&", ["x"]),
    ],
)
def test_values_of_a_parameter(query: str, values: list[str]) -> None:
    assert exchange(query).query("session_id") == values


@given(st.text())
def test_any_query_is_taken(query: str) -> None:
    assert isinstance(exchange(f"{query}&session_id=x").query("session_id"), list)


def test_long_accept_headers_are_not_kept() -> None:
    before = exchange_module._accepts.cache_info().currsize
    for number in range(10):
        assert accepts(f"{'x' * exchange_module.REMEMBERED}{number},{JSON}", JSON)
    assert exchange_module._accepts.cache_info().currsize == before


def test_what_is_secret_is_in_no_repr() -> None:
    """Error pages and error trackers show the reprs of what a function had at hand."""
    secret = "s3cret" * 6
    asked = Exchange(
        "POST", "/mcp", "/mcp", {"authorization": secret, "cookie": secret}, f"session_id={secret}",
        body=secret.encode(), principal=Principal("issuer", "ann", claims={"jti": secret}, token=secret),
    )  # fmt: skip
    for each in (asked, RequestedId(secret, by_guide=True, named=secret), Sealed(secret, "stream", secret)):
        assert secret not in repr(each)
