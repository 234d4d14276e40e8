"""Whatever comes in: an exact status, a JSON-RPC error, and nothing left behind.

A page of HTML, or a bare 400, makes clients take the server for an older one.
"""

from __future__ import annotations

import json
import os
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from django.conf import settings as django_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_sessions import urls
from mcp_sessions.models import Session, Subscription
from tests.doors.client import BOTH, LATEST, McpClient, call, initialize, notification, request, text_of
from tests.doors.conftest import OpenClient, every_door, on_mount, streaming, under_wsgi
from tests.doors.doors import AsgiDoor, Door, pairs
from tests.process import in_thread, rows

JSON: Final = {"Content-Type": "application/json", "Accept": BOTH}
PARSE, INVALID, UNKNOWN, PARAMS = -32700, -32600, -32601, -32602
NUL, HALF, NO_CHARACTER = "a\x00b", "a\ud800b", "\uffff"
NASTY: Final = (
    NUL,
    HALF,
    "\udfff\ud800",
    NO_CHARACTER,
    "\u2028\u2029",
    "\x1b[31m",
    "'; DROP TABLE",
    "%s%n{0}",
    "😀" * 50,
)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


def is_error(message: Any) -> bool:
    """Whether this is a JSON-RPC error as the schemas have it: its id is not there, or no null."""
    return (
        isinstance(message, dict)
        and message.get("jsonrpc") == "2.0"
        and set(message) <= {"jsonrpc", "id", "error"}
        and isinstance(message.get("id", ""), str | int)
        and isinstance(message["error"]["code"], int)
        and isinstance(message["error"]["message"], str)
    )


@dataclass(frozen=True)
class Attack:
    """A request and how it is answered; `code` None means no body at all."""

    name: str
    status: int
    code: int | None
    body: bytes = json.dumps(request("ping")).encode()
    headers: Mapping[str, str | None] = field(default_factory=dict)
    method: str = "POST"
    path: str = "/mcp"
    answers_id: bool = False


def bodies(status: int, code: int, *texts: str | bytes) -> Iterator[Attack]:
    for text in texts:
        body = text if isinstance(text, bytes) else text.encode()
        yield Attack(f"body {body[:60]!r}", status, code, body)


def messages(status: int, code: int, *values: Any, answers_id: bool = False) -> Iterator[Attack]:
    for value in values:
        body = json.dumps(value).encode()
        yield Attack(f"message {body[:80]!r}", status, code, body, answers_id=answers_id)


def with_each(message: Mapping[str, Any], name: str, *values: Any) -> Iterator[dict[str, Any]]:
    """The message with each of the values for one of its members."""
    for value in values:
        yield {**message, name: value}


PING: Final = request("ping")
ANSWER: Final[dict[str, Any]] = {"jsonrpc": "2.0", "id": 1, "result": {}}
ERROR: Final[dict[str, Any]] = {"jsonrpc": "2.0", "id": 1}
ECHO: Final = json.dumps(call("echo_json", {"value": "HERE"}))

TOO_LARGE: Final = ("1e400", "-1E+400", "1.0e309", "9" * 309, "-" + "9" * 4000)
ANYWHERE: Final = [
    json.dumps(message)
    for message in (
        # Also where nobody waits for it: progress and answers that nobody asked for.
        call("echo_json", {"value": "HERE"}),
        request("ping", id="HERE"),
        notification("notifications/progress", {"progressToken": "a" * 32, "progress": "HERE"}),
        notification("notifications/cancelled", {"requestId": "HERE"}),
        {"jsonrpc": "2.0", "id": "a" * 32, "result": {"value": ["HERE"]}},
        {"jsonrpc": "2.0", "id": "a" * 32, "error": {"code": 1, "message": "m", "data": "HERE"}},
    )
]

NOT_JSON = [
    *bodies(400, PARSE, "", " ", "{", "nonsense", "{'a': 1}", '{"jsonrpc":"2.0",}', json.dumps(PING) + "x"),
    *bodies(
        400, PARSE, json.dumps(PING) * 2, "undefined", "01", '"\t"', "[1,]", "// comment\n{}", "\ufeff{}"
    ),
    *bodies(400, PARSE, b"\xff\xfe", b"\x80", b'{"a":"\xe4"}', b"\xed\xa0\x80", b"\xc0\xaf", b"\x00"),
    *bodies(400, PARSE, json.dumps(PING).encode("utf-16"), json.dumps(PING).encode("utf-32")),
    *bodies(
        400, PARSE, *(ECHO.replace('"HERE"', each) for each in ("NaN", "Infinity", "-Infinity", "[NaN]"))
    ),
    *bodies(400, PARSE, *(text.replace('"HERE"', each) for text in ANYWHERE for each in TOO_LARGE)),
    *bodies(400, PARSE, "NaN", ECHO.replace('"HERE"', "9" * 5000), ECHO.replace('"HERE"', "-" + "9" * 5000)),
    *bodies(400, PARSE, nested(5_000), nested(100_000), nested(5_000, '{"a":', "}"), "[" * 100_000),
    *bodies(400, PARSE, *(ECHO.replace('"HERE"', nested(depth)) for depth in (98, 500, 5_000, 100_000))),
    *bodies(400, PARSE, ECHO.replace('"HERE"', '{"a":' * 5_000 + "1" + "}" * 5_000)),
]
NO_MESSAGE = [
    *messages(
        400, INVALID, 0, 1.5, "text", "", None, True, False, {}, [], [[]], [[PING]], [[[]]], [1], [None]
    ),
    *messages(400, INVALID, {"id": 1, "method": "ping"}, answers_id=True),
    *messages(
        400,
        INVALID,
        *with_each(PING, "jsonrpc", "1.0", "2.00", 2.0, None, ["2.0"], ""),
        answers_id=True,
    ),
    *messages(400, INVALID, *with_each(PING, "id", None, True, False, 1.5, 1.0, [1], {"a": 1}, [])),
    *messages(400, INVALID, *with_each(PING, "method", None, 1, [], {}, True), answers_id=True),
    *messages(400, INVALID, *with_each(PING, "params", [], "a", 1, True), answers_id=True),
    *messages(400, INVALID, *with_each(notification("a"), "params", [], "a", 1)),
    *messages(
        400, INVALID, {"jsonrpc": "2.0"}, {"jsonrpc": "2.0", "params": {}}, {"jsonrpc": "2.0", "id": 1}
    ),
    *messages(
        400, INVALID, {"jsonrpc": "2.0", "result": {}}, {**ANSWER, "error": {"code": 1, "message": "a"}}
    ),
    *messages(400, INVALID, *with_each(ANSWER, "id", None, True, 1.5, [], {})),
    *messages(400, INVALID, *with_each(ANSWER, "result", None, 1, "a", [], True)),
    *messages(400, INVALID, *with_each(ERROR, "error", None, 1, "a", [], {}, {"code": 1}, {"message": "a"})),
    *messages(
        400, INVALID, *with_each(ERROR, "error", {"code": "1", "message": "a"}, {"code": 1, "message": 1})
    ),
]
WRONG_TYPE = [
    Attack(f"content type {each!r}", 415, INVALID, headers={"Content-Type": each})
    for each in (
        None,
        "text/plain",
        "text/html",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json-rpc",
        "application/jsonp",
        "application/problem+json",
        "application/json, text/plain",
        "json",
        "*/*",
        ";charset=utf-8",
    )
]
ONE_FORM: Final = (
    "application/json",
    "text/event-stream",
    "application/*",
    "text/*",
    "application/json;q=0, text/event-stream",
    "application/json, text/event-stream; q=0.0",
)
NO_FORM: Final = (
    "text/html",
    "application/xml, text/plain",
    "application/jsonx, text/event-streams",
    "application/json text/event-stream",
    "",
    ",",
    ";;;",
    "\xe4",
)
WRONG_ACCEPT = [
    Attack(f"accept {each!r}", 406, INVALID, headers={"Accept": each}, path=path, answers_id=True)
    for path, refused in (("/mcp", NO_FORM), ("/strict", NO_FORM + ONE_FORM))
    for each in refused
]
WRONG_SESSION = [
    *(
        Attack(f"session {each[:30]!r}", 404, INVALID, headers={"Mcp-Session-Id": each}, answers_id=True)
        for each in (
            "a",
            "A" * 32,
            "A" * 200,
            "A" * 60_000,
            "with space",
            "../../etc/passwd",
            "%00",
            "\xe4" * 32,
            "null",
        )
    ),
    *(
        Attack(f"session {each!r}", 400, INVALID, headers={"Mcp-Session-Id": each}, answers_id=True)
        for each in (None, "")
    ),
    Attack("two ids", 400, INVALID, headers={"X-Session-ID": "B" * 32}, answers_id=True),
    Attack("two ids", 400, INVALID, path=f"/mcp?session_id={'B' * 32}", answers_id=True),
    Attack("two ids", 400, INVALID, path=f"/mcp?sse_session={'B' * 32}", answers_id=True),
    Attack(
        "initialize with an unknown session",
        404,
        INVALID,
        json.dumps(initialize()).encode(),
        {"Mcp-Session-Id": "A" * 32},
        answers_id=True,
    ),
]
WRONG_METHOD = [
    Attack(f"{method} {body[:9]!r}", 405, INVALID, body, method=method)
    for method in ("PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
    for body in (b"", json.dumps(PING).encode(), b"\xff")
]
WRONG_ORIGIN = [
    Attack(f"origin {each!r}", 403, INVALID, headers={"Origin": each}, method=method)
    for each in (
        "null",
        "",
        "https://evil.example",
        "http://testserver.evil.example",
        "http://testserver:81",
        "file://testserver",
        "testserver",
        "http://[",
        "http://testserver@evil.example",
        "*",
        "\xe4",
        "h" * 60_000,
    )
    for method in ("POST", "DELETE")
]
TOO_LARGE = [
    Attack("one byte too many", 413, INVALID, b" " * 2001, path="/small"),
    Attack(
        "a message too large",
        413,
        INVALID,
        json.dumps(call("echo", {"text": "x" * 3000})).encode(),
        path="/small",
    ),
    Attack("too large to be a batch", 413, INVALID, json.dumps([PING] * 500).encode(), path="/small"),
    Attack("too large for Django", 413, INVALID, b"x" * (5 * 1024 * 1024)),
    Attack("too large by another method", 413, INVALID, b" " * 2001, path="/small", method="PUT"),
]
UNKNOWN_METHODS = [
    *messages(
        200,
        UNKNOWN,
        *(
            request(each)
            for each in ("no/such", "", "tools", "TOOLS/LIST", "tools/list ", "__class__", *NASTY)
        ),
        answers_id=True,
    ),
    *messages(
        200,
        PARAMS,
        *(request("tools/call", each) for each in ({}, {"name": 1}, {"name": None})),
        answers_id=True,
    ),
    *messages(200, PARAMS, request("tools/call", {"name": "echo", "arguments": []}), answers_id=True),
    *messages(
        200, PARAMS, *(request("logging/setLevel", {"level": each}) for each in NASTY), answers_id=True
    ),
]
REQUESTS: Final = {
    "wrong content type": WRONG_TYPE,
    "wrong accept": WRONG_ACCEPT,
    "wrong session": WRONG_SESSION,
    "wrong method": WRONG_METHOD,
    "wrong origin": WRONG_ORIGIN,
    "too large": TOO_LARGE,
    "one of each body": [NOT_JSON[0], NOT_JSON[-1], NO_MESSAGE[0], UNKNOWN_METHODS[0]],
}
MESSAGES: Final = {"not JSON": NOT_JSON, "no message": NO_MESSAGE, "unknown": UNKNOWN_METHODS}


@every_door
@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_bad_request_is_refused_and_leaves_nothing(connect: OpenClient, kind: str) -> None:
    await are_refused(REQUESTS[kind], connect)


@pytest.mark.parametrize("kind", MESSAGES)
async def test_a_bad_message_is_refused_and_leaves_nothing(connect: OpenClient, kind: str) -> None:
    await are_refused(MESSAGES[kind], connect)


async def are_refused(attacks: list[Attack], connect: OpenClient) -> None:
    clients = {path: await connect(path=path) for path in ("/mcp", "/small", "/strict")}
    before = await rows()
    wrong = []
    for attack in attacks:
        client = clients[attack.path.partition("?")[0]]
        client.path, path = attack.path, client.path
        headers = {"Content-Type": "application/json", "Accept": BOTH, **attack.headers}
        response = await client.send(attack.method, attack.body, headers)
        client.path = path
        body = await response.body()
        try:
            assert response.status == attack.status
            assert response.headers["content-type"] == "application/json"
            message = json.loads(body)
            assert is_error(message)
            assert message["error"]["code"] == attack.code
            assert ("id" in message) == attack.answers_id
        except (AssertionError, ValueError, KeyError) as error:
            wrong.append(
                f"{attack.name}: {response.status} {dict(response.headers)} {body[:200]!r} ({error!r})"
            )
    assert not wrong, "\n".join(wrong)
    assert await rows() == before
    assert [await client.status() for client in clients.values()] == [200, 200, 200]


@every_door
async def test_the_methods_that_are_served_are_named(connect: OpenClient) -> None:
    client = await connect()
    for method in ("PUT", "HEAD"):
        response = await client.send(method)
        assert (response.status, response.headers["allow"]) == (405, "GET, POST, DELETE")


@every_door
async def test_what_is_unusual_but_right_is_served(connect: OpenClient) -> None:
    client = await connect()
    good: list[dict[str, str | None]] = [
        {"Accept": "*/*"},
        {"Accept": "application/*, text/*"},
        {"Accept": None},
        {"Accept": "TEXT/EVENT-STREAM;q=0.5,APPLICATION/JSON"},
        {"Accept": "text/html, application/json; q=0.1, text/event-stream; charset=utf-8"},
        {"Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "APPLICATION/JSON"},
        {"Origin": "http://testserver"},
        {"Origin": "https://TESTSERVER"},
        {"X-Session-ID": client.session_id},
        {"X-Anything": "x" * 60_000},
        {f"X-Header-{n}": "x" for n in range(500)},
        {"Cookie": "sessionid=nonsense; csrftoken=nonsense"},
    ]
    for headers in good:
        response = await client.post(PING, headers)
        assert (response.status, await response.json()) == (200, {"jsonrpc": "2.0", "id": 1, "result": {}}), (
            headers
        )
    client.path = f"/mcp?a=b&session_id={client.session_id}&c=%ff%00"
    assert await client.status() == 200


async def test_of_a_repeated_key_the_last_counts(connect: OpenClient) -> None:
    client = await connect()
    body = b'{"jsonrpc": "2.0", "id": 1, "id": 2, "method": "no/such", "method": "ping", "method": "ping"}'
    response = await client.send("POST", body, {"Content-Type": "application/json"})
    assert await response.json() == {"jsonrpc": "2.0", "id": 2, "result": {}}


async def test_nesting_as_deep_as_may_be_is_served(connect: OpenClient) -> None:
    """Three levels are the message's own: MAX_DEPTH is 100."""
    client = await connect()
    for inner in (nested(97), '{"a":' * 97 + "1" + "}" * 97, "[" + "[],{}," * 500 + "[]]"):
        response = await client.send("POST", ECHO.replace('"HERE"', inner).encode(), JSON)
        assert json.loads(text_of(await response.json())) == json.loads(inner)


# Strings that some database refuses


ALIASES = ("default", "postgres", "mariadb")
THERE = [each for each in ALIASES if each in django_settings.DATABASES]


def every_database(test: Any) -> Any:
    """Run the test with the store in each database that is there."""
    test = pytest.mark.django_db(transaction=True, databases=THERE)(test)
    return pytest.mark.parametrize("alias", ALIASES, indirect=True)(test)


@pytest.fixture
def alias(request: pytest.FixtureRequest, settings: Any) -> str:
    """The database the store uses in this test; skipped where no server runs, but never in CI."""
    name: str = request.param
    if name not in django_settings.DATABASES:
        reason = f"no server answers for the database {name!r}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    store = {"BACKEND": "mcp_sessions.stores.database.DatabaseSessionStore", "OPTIONS": {"alias": name}}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": store}
    return name


def clients() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(clientInfo, capabilities) of clients that mean no good."""
    for text in NASTY:
        yield {"name": text, "version": text, "title": text}, {}
        yield {"name": "a", "version": "1"}, {"experimental": {text: {text: [text]}}}
    yield {"name": "a", "version": "1", "unknown": {"a": [1, None]}}, {"unknown": {"a": 1}}
    yield {"name": "", "version": ""}, {"experimental": {"a": {"b": 10**100, "c": 1.5e300}}}
    yield {"name": "a", "version": "1"}, {"experimental": {"a": {"b": json.loads(nested(90))}}}


@every_database
async def test_any_client_may_introduce_itself(alias: str, door: Door) -> None:
    for client_info, capabilities in clients():
        message = initialize(LATEST, capabilities)
        message["params"]["clientInfo"] = client_info
        client = McpClient(door)
        response = await client.post(message, {"User-Agent": "\x01\xe4"})
        answer = await response.json()
        if response.headers.get("mcp-session-id") is None:
            # The SDK's models refuse some: then there is an error and nothing else.
            assert response.status == 200 and is_error(answer), (client_info, answer)
            continue
        client.session_id = response.headers["mcp-session-id"]
        assert await client.call("echo", {"text": "a"}) == "a"
        assert (await client.delete()).status == 204
    left = await in_thread(lambda: list(Session.objects.using(alias).values_list("end_reason", flat=True)))
    assert set(left) == {"deleted"} and len(left) > len(NASTY)


@every_database
async def test_any_string_may_come_in_a_message(alias: str, connect: OpenClient) -> None:
    client = await connect()
    for text in (*NASTY, "x" * 10_000):
        name = text[:200]
        answer = await client.ask(call("echo_json", {"value": {text: [text]}}, id=name))
        assert answer["id"] == name
        if "error" not in answer and not answer["result"].get("isError"):
            assert json.loads(text_of(answer)) == {text: [text]}
        for method in ("resources/subscribe", "resources/unsubscribe", "resources/read"):
            assert set(await client.ask(request(method, {"uri": text}))) <= {
                "jsonrpc",
                "id",
                "result",
                "error",
            }
        refused = await client.ask(request("logging/setLevel", {"level": text}))
        assert refused["error"]["code"] == PARAMS
        unknown = await client.ask(request("prompts/get", {"name": text, "arguments": {text: text}}))
        assert "error" in unknown
        await client.cancel(text, text)
        await client.notify("notifications/progress", {"progressToken": text, "progress": 1, "message": text})
        await client.notify(name, {text: text})
        await client.reply(text, {text: text})
        await client.reply_error(text, 1, text)
    assert (await rows(alias))["Subscription"] == 0
    assert await client.status() == 200


@every_database
async def test_any_uri_may_be_subscribed_to(alias: str, connect: OpenClient) -> None:
    client = await connect()
    uris = [*NASTY, "", "x" * 2000, "note://1"]
    subscribed = 0
    for uri in uris:
        answer = await client.ask(request("resources/subscribe", {"uri": uri}))
        assert answer.get("result") == {} or answer["error"]["code"] == PARAMS, answer
        subscribed += "result" in answer
    assert (await rows(alias))["Subscription"] == subscribed >= len(uris) - 2
    kept = await in_thread(lambda: set(Subscription.objects.using(alias).values_list("uri", flat=True)))
    assert "note://1" in kept


@every_database
async def test_any_string_may_be_streamed(alias: str, connect: OpenClient) -> None:
    client = await connect()
    for text in NASTY:
        response = await client.post(call("progress", {"steps": 1}, id=text, token=text))
        step, result = await response.messages()
        assert (step["params"]["progressToken"], result["id"]) == (text, text)
        logged, _ = await (await client.post(call("log", {"texts": {"info": "a" + text}}))).messages()
        assert logged["method"] == "notifications/message" or "error" in logged


# Bodies whose length is not what the client says


@streaming
@pytest.mark.parametrize("length", [None, "10", "0", "1000000", "-1", "nonsense", "9" * 30, "9" * 6000, ""])
async def test_a_large_body_is_refused_whatever_its_length_header_says(
    connect: OpenClient, length: str | None
) -> None:
    client = await connect(path="/small")
    assert isinstance(client.door, AsgiDoor)
    before = await rows()
    headers = {**JSON, "Mcp-Session-Id": client.session_id, "Content-Length": length}
    part = json.dumps(call("add", {"item": "x" * 300})).encode()
    started = await client.door.start("POST", "/small", pairs(headers), [part, *[b" " * 400] * 6])
    response = await started
    assert response.status == 413, await response.body()
    assert is_error(await response.json())
    assert await rows() == before


@under_wsgi
async def test_under_wsgi_a_body_is_as_long_as_its_header_says(connect: OpenClient) -> None:
    """More than that is not read, so what is cut off is no JSON; without a length there is no body."""
    client = await connect(path="/small")
    before = await rows()
    body = json.dumps(call("echo", {"text": "x" * 3000})).encode()
    for length, status in ((None, 413), ("10", 400), ("0", 400), ("-1", 400), ("nonsense", 400), ("", 400)):
        response = await client.send("POST", body, {**JSON, "Content-Length": length})
        assert response.status == status, length
        assert is_error(await response.json())
    assert await rows() == before


@on_mount
async def test_a_body_that_says_it_is_too_large_is_not_read(connect: OpenClient) -> None:
    client = await connect(path="/small")
    assert isinstance(client.door, AsgiDoor)
    headers = {**JSON, "Mcp-Session-Id": client.session_id, "Content-Length": "2001"}
    # The rest never comes: who waits for it waits for ever.
    response = await (await client.door.start("POST", "/small", pairs(headers), [b""], is_cut=True))
    assert response.status == 413


@every_door
async def test_a_body_as_large_as_may_be_is_served(connect: OpenClient) -> None:
    client = await connect(path="/small")
    body = json.dumps(PING).encode()
    response = await client.send("POST", body + b" " * (2000 - len(body)), JSON)
    assert response.status == 200


# Places where more than one answer is right


@on_mount
async def test_get_is_refused_in_json_too(connect: OpenClient) -> None:
    client = await connect()
    before = await rows()
    cases: list[tuple[int, Mapping[str, str | None]]] = [
        *((406, {"Accept": each}) for each in ("application/json", "text/html", "text/event-stream;q=0", "")),
        *(
            (400, {"Last-Event-ID": each})
            for each in ("a", ".", "a.", ".1", "a.-1", "a.1.x", "a." + "9" * 40, "\xe4.1")
        ),
        *(
            (400, {"Last-Event-ID": each})
            for each in ("0123456789abcdef.0", "x" * 60_000, "x" * 60_000 + ".1")
        ),
        *((404, {"Mcp-Session-Id": each}) for each in ("a", "A" * 32, "with space", "A" * 60_000)),
        (400, {"X-Session-ID": "B" * 32}),
        (400, {"MCP-Protocol-Version": "1999-01-01"}),
        (403, {"Origin": "https://evil.example"}),
    ]
    wrong = []
    for status, headers in cases:
        response = await client.send("GET", headers={"Accept": "text/event-stream", **headers})
        if response.status != status or not is_error(await response.json()):
            wrong.append((headers, response.status, response.headers))
    assert not wrong
    assert await rows() == before


@on_mount
async def test_another_host_is_refused(connect: OpenClient, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver", ".example.com"]
    client = await connect()
    for host in (
        "evil.example",
        "testserver.evil.example",
        "example.com.evil.example",
        "",
        "[",
        "a b",
        "\xe4",
        "x" * 60_000,
    ):
        for method in ("POST", "GET", "DELETE"):
            response = await client.send(method, json.dumps(PING).encode(), {**JSON, "Host": host})
            assert response.status == 421, host
            assert is_error(await response.json())
    for host in ("testserver", "testserver:8000", "TESTSERVER", "www.example.com"):
        response = await client.post(PING, {"Host": host})
        assert response.status == 200, host


@every_door
async def test_the_endpoint_has_one_path(connect: OpenClient) -> None:
    client = await connect()
    client.path = "/mcp/"
    assert await client.status() == 200
    for path in ("/mcpx", "/mcp/x", "/MCP", "/", "/mcp%00", "/mcp%0A", "/mcp;a", "/%6dcp%2fx"):
        client.path = path
        assert await client.status() == 404, path


def test_a_path_is_no_pattern(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVERS": {"/v1.0/(mcp)+": "tests.servers:other"}}
    fresh: dict[str, Any] = runpy.run_path(urls.__file__)
    # Behind it stands the path of endpoints' metadata.
    pattern, _ = fresh["urlpatterns"]
    assert pattern.resolve("v1.0/(mcp)+") and pattern.resolve("v1.0/(mcp)+/")
    for other in ("v1x0/(mcp)+", "v1.0/mcp", "v1.0/mcpmcp"):
        assert pattern.resolve(other) is None


# Anything at all

HERE: Final = "a number in the place of this"
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.sampled_from(
        [*NASTY, HERE, "2.0", "ping", "initialize", "tools/call", "echo", "notifications/cancelled", LATEST]
    )
)
NAMES = st.sampled_from(
    [
        "jsonrpc",
        "id",
        "method",
        "params",
        "result",
        "error",
        "code",
        "message",
        "name",
        "arguments",
        "_meta",
        "uri",
        "progressToken",
        "requestId",
        "level",
        "protocolVersion",
        "capabilities",
        "clientInfo",
        "cursor",
        "data",
        "io.modelcontextprotocol/protocolVersion",
    ]
) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)
METHODS = st.sampled_from(
    [
        "ping",
        "tools/call",
        "tools/list",
        "resources/read",
        "resources/subscribe",
        "resources/list",
        "prompts/get",
        "logging/setLevel",
        "completion/complete",
        "initialize",
        "notifications/initialized",
        "server/discover",
        "notifications/cancelled",
        "notifications/progress",
        "subscriptions/listen",
        "tasks/get",
    ]
)
SHAPED = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0")},
    optional={
        "id": st.integers() | st.text(st.characters(exclude_categories=()), max_size=5) | SCALARS,
        "method": METHODS | SCALARS,
        "params": st.dictionaries(NAMES, VALUES, max_size=5) | VALUES,
        "result": st.dictionaries(NAMES, VALUES, max_size=3) | VALUES,
        "error": st.fixed_dictionaries({"code": st.integers(), "message": st.text()}) | VALUES,
    },
)
CALLED = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": METHODS, "params": st.dictionaries(NAMES, VALUES, max_size=5)},
    optional={"id": st.integers() | st.text(max_size=5)},
)
NUMBERS = st.sampled_from(["1e400", "-1e400", "1e308", "1e-400", "9" * 308, "9" * 400, "-0", "0.1e1"])
BODIES = (
    st.builds(
        lambda value, number: json.dumps(value).replace(json.dumps(HERE), number).encode(),
        CALLED | SHAPED,
        NUMBERS,
    )
    | CALLED.map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=50)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | SHAPED.map(lambda value: json.dumps(value).encode())
    | st.lists(SHAPED, max_size=3).map(lambda value: json.dumps(value).encode())
)
HEADERS: st.SearchStrategy[dict[str, str]] = st.just({}) | st.fixed_dictionaries(
    {},
    optional={
        "MCP-Protocol-Version": st.sampled_from(["2025-03-26", LATEST, "2026-07-28", "1999-01-01", ""]),
        "Mcp-Session-Id": st.sampled_from(["A" * 32, "", "x"]),
        "Mcp-Method": METHODS,
        "Accept": st.sampled_from(["application/json", "*/*", "text/event-stream", ""]),
        "Content-Type": st.sampled_from(["text/plain", "application/json; charset=x", ""]),
    },
)
STATUSES: Final = {200, 202, 400, 404, 406, 415}


@pytest.fixture
async def old_and_new(connect: OpenClient) -> tuple[McpClient, McpClient]:
    return await connect(version="2025-03-26"), await connect()


@streaming
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(which=st.sampled_from([0, 1]), body=BODIES, headers=HEADERS)
async def test_anything_is_answered(
    old_and_new: tuple[McpClient, McpClient], which: int, body: bytes, headers: dict[str, str]
) -> None:
    response = await old_and_new[which].send("POST", body, {**JSON, **headers})
    assert response.status in STATUSES
    if response.is_stream:
        await response.disconnect()
        return
    answer = await response.body()
    if not answer:
        assert response.status == 202
        return
    assert response.headers["content-type"] == "application/json"
    found = json.loads(answer)
    for message in found if isinstance(found, list) else [found]:
        assert message["jsonrpc"] == "2.0"
        assert ("result" in message) != ("error" in message)
