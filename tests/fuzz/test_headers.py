"""Anything in the place of everything that a client controls, and each parser of it by itself."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from mcp_sessions import jsonrpc, sse
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Exchange, accepts, header_map
from mcp_sessions.protocol.get import asks_for_stream
from mcp_sessions.protocol.revisions import check_header, guide_version, is_modern
from mcp_sessions.protocol.session_ids import find_session_id
from mcp_sessions.security import origins
from mcp_sessions.security.addresses import client_address
from mcp_sessions.security.authentication import bearer_token
from mcp_sessions.security.redaction import redact_query, redact_text
from tests.fuzz.seeds import BOTH, JSON, ME, OWN, call, message, request_of, text
from tests.fuzz.target import LATEST, Target

HEADERS: Final = (
    *("Mcp-Session-Id", "X-Session-ID", "Last-Event-ID", "Accept", "Content-Type", "Content-Encoding"),
    *("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "MCP-Protocol-Version", "Origin", "Host"),
    *("Authorization", "Cookie", "User-Agent", "Upgrade", "Mcp-Method", "Content-Length", "Referer"),
)
WORDS: Final = (
    *("$SESSION", "$KEY", "$STRANGER", "a.1", f"{'A' * 80}.7", ".", "Bearer ", "Bearer token", "Basic YTpi"),
    *("text/event-stream", "application/json", "*/*", ";q=0", "gzip", "identity", "h2c", "null"),
    *("https://app.example", "http://testserver", "testserver", "[::1]:80", "192.0.2.1, ::1", LATEST),
    *("2026-07-28", "2025-03-26", "charset=utf-16", "sessionid=x", "=", ",", "%00", "\u00e9", "\t"),
)
TEXT: Final = st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n\0"), max_size=60)
"""What the servers let through."""
VALUES: Final = st.lists(st.sampled_from(WORDS) | TEXT, max_size=4).map("".join)
PAIRS: Final = st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=5)
QUERIES: Final = st.lists(
    st.tuples(st.sampled_from(["session_id", "sse_session", "x", "%73ession_id", ""]), VALUES), max_size=3
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))

ours = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ours
@given(pairs=PAIRS, query=QUERIES, authorized=st.booleans(), named=st.booleans())
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_any_headers(
    target: Target, method: str, pairs: Any, query: str, authorized: bool, named: bool
) -> None:
    usual = [JSON, "Accept: text/event-stream" if method == "GET" else BOTH]
    lines = [ME] * authorized + [OWN] * named + usual
    request = request_of(text(call("recall", {}), *lines, line=f"{method} /mcp"))
    assert request is not None
    given_here = {name.lower() for name, _ in pairs}
    request.headers = [each for each in request.headers if each[0].lower() not in given_here] + list(pairs)
    request.query = query
    target.send(request)


JSON_VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
MEMBERS: Final = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON_VALUES},
    optional={
        "id": JSON_VALUES,
        "method": JSON_VALUES
        | st.sampled_from(
            ["ping", "tools/call", "initialize", "notifications/cancelled", "logging/setLevel"]
        ),
        "params": JSON_VALUES
        | st.fixed_dictionaries({"name": JSON_VALUES, "arguments": JSON_VALUES, "_meta": JSON_VALUES}),
        "result": JSON_VALUES,
        "error": JSON_VALUES,
    },
)


@ours
@given(
    body=MEMBERS | st.lists(MEMBERS, max_size=6) | JSON_VALUES,
    version=st.sampled_from([LATEST, "2025-03-26"]),
)
def test_any_message(target: Target, body: Any, version: str) -> None:
    request = request_of(text(body, ME, JSON, BOTH, OWN, f"MCP-Protocol-Version: {version}"))
    assert request is not None
    target.send(request)


@ours
@given(body=st.binary(max_size=200))
def test_any_bytes(target: Target, body: bytes) -> None:
    request = request_of(text(message("ping"), ME, JSON, BOTH, OWN))
    assert request is not None
    request.body = body
    target.send(request)


# -- parsers by themselves -------------------------------------------------------------------


def exchange_of(method: str, pairs: list[tuple[str, str]], query: str) -> Exchange:
    return Exchange(method, "/mcp", "/mcp", header_map(pairs), query_string=query, address="192.0.2.1")


PARSERS: Final[list[Callable[[Exchange], Any]]] = [
    find_session_id,
    client_address,
    bearer_token,
    origins.check,
    check_header,
    guide_version,
    asks_for_stream,
    lambda exchange: is_modern(exchange, None),
]


@given(PAIRS, QUERIES)
@pytest.mark.parametrize("parse", PARSERS)
def test_whatever_a_request_says_it_is_read_or_refused(
    parse: Callable[[Exchange], Any], pairs: Any, query: str
) -> None:
    try:
        parse(exchange_of("POST", pairs, query))
    except RequestError as error:
        assert 400 <= error.status < 500


@given(st.text(max_size=200))
def test_no_event_id_is_mistaken_for_another(text: str) -> None:
    parsed = sse.parse_event_id(text)
    if parsed is not None:
        prefix, position = parsed
        assert int(text.removeprefix(prefix)[1:]) == position >= 0
        assert sse.unseal(prefix, endpoint="/mcp", owner="") is None


@given(
    st.text(string.ascii_uppercase, min_size=32, max_size=32),
    st.integers(0, 10**18 - 1),
    st.integers(0, 200),
    st.sampled_from(string.ascii_letters + string.digits),
)
def test_a_sealed_id_opens_as_it_was_made_and_no_other(
    session_id: str, position: int, at: int, put: str
) -> None:
    sealed = sse.Sealed(session_id, "stream")
    prefix = sse.seal(sealed, endpoint="/mcp", owner="me")
    assert sse.parse_event_id(sse.event_id(prefix, position)) == (prefix, position)
    assert sse.unseal(prefix, endpoint="/mcp", owner="me") == sealed
    for endpoint, owner in (("/mcp", "you"), ("/other", "me")):
        assert sse.unseal(prefix, endpoint=endpoint, owner=owner) is None
    at %= len(prefix)
    changed = f"{prefix[:at]}{put}{prefix[at + 1 :]}"
    found = sse.unseal(changed, endpoint="/mcp", owner="me")
    # The last character of base64 has bits that mean nothing.
    assert found is None or (found == sealed and (changed == prefix or at == len(prefix) - 1))


@given(st.binary(max_size=300), st.integers(1, 30))
def test_a_body_is_json_or_refused(body: bytes, depth: int) -> None:
    try:
        value = jsonrpc.decode(body, depth)
        jsonrpc.encode(value)
        jsonrpc.request_id_of(value)
        jsonrpc.parse(value)
    except RequestError as error:
        assert (error.status, error.code in {jsonrpc.PARSE_ERROR, jsonrpc.INVALID_REQUEST}) == (400, True)


@given(st.text(max_size=100), st.sampled_from(["application/json", "text/event-stream"]))
def test_what_is_accepted_is_named(accept: str, media_type: str) -> None:
    if accepts(accept, media_type):
        assert media_type in accept.lower() or "/*" in accept


@given(st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=8))
@example([("Mcp-Session-Id", ",")])
def test_no_header_is_lost(pairs: list[tuple[str, str]]) -> None:
    found = header_map(pairs)
    assert set(found) == {name.lower() for name, _ in pairs}
    for name, value in pairs:
        whole = found[name.lower()]
        # Of a header that has one value, copies that agree are one.
        assert value.strip(" \t") in whole or {copy.strip(" \t") for copy in value.split(",")} == {whole}


@given(st.text(string.ascii_uppercase + string.digits, min_size=32, max_size=32), QUERIES, VALUES)
def test_no_id_is_left_in_what_is_logged(session_id: str, query: str, text: str) -> None:
    assume(session_id not in query + text)
    named = f"{query}&session_id={session_id}".replace("$", "")
    assert session_id not in redact_query(named)
    assert session_id not in redact_text(f"GET /mcp?session_id={session_id} {text}".replace("$", ""))
