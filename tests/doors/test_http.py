"""What clients, servers and proxies do that the specification does not speak of."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping
from typing import Any, Final
from unittest import mock

import pytest
from django.core.asgi import get_asgi_application
from django.core.signals import request_started

from mcp_sessions import aload_session, asend_session_message
from mcp_sessions.delivery import Closing, get_hub
from mcp_sessions.exceptions import SessionEnded, StoreUnavailable
from mcp_sessions.lifecycle.unused import look
from mcp_sessions.routing import mount
from mcp_sessions.runtime import current
from mcp_sessions.signals import session_ended
from mcp_sessions.stores import get_store
from tests.doors.client import (
    BOTH,
    JSON_POST,
    LATEST,
    VERSIONS,
    McpClient,
    call,
    initialize,
    request,
    text_of,
)
from tests.doors.conftest import OpenClient, doors, every_door, on_mount
from tests.doors.doors import AsgiDoor, Door, Response, pairs
from tests.process import only_session
from tests.servers import DEADLINE, gates

PING: Final = request("ping")
OTHER: Final = "2025-03-26"
UNKNOWN: Final = "A" * 32
MODERN: Final = "2026-07-28"


async def refused(response: Response) -> tuple[int, Any]:
    """The status and the JSON-RPC error."""
    return response.status, (await response.json())["error"]


# Headers that are sent twice


@pytest.mark.parametrize("text", ["{0}, {0}", "{0},{0}", " {0} ,\t{0}, {0} "])
async def test_copies_of_a_header_that_agree_are_one(connect: OpenClient, text: str) -> None:
    client = await connect()
    for name, value in (
        ("Mcp-Session-Id", client.session_id),
        ("MCP-Protocol-Version", LATEST),
        ("Content-Type", "application/json"),
    ):
        assert (await client.post(PING, {name: text.format(value)})).status == 200, name
    guide = {"Mcp-Session-Id": None, "X-Session-ID": text.format(client.session_id)}
    assert (await client.post(PING, guide)).status == 200
    gone = await client.send("DELETE", headers={"Mcp-Session-Id": text.format(client.session_id)})
    assert gone.status == 204


async def test_session_ids_that_differ_are_a_conflict_and_no_dead_session(connect: OpenClient) -> None:
    """A 404 would make the client open another session, and another."""
    client = await connect()
    for name in ("Mcp-Session-Id", "X-Session-ID"):
        for value in (f"{client.session_id}, {UNKNOWN}", f"{UNKNOWN},{client.session_id}"):
            for method in ("POST", "DELETE"):
                headers = {**JSON_POST, "Mcp-Session-Id": None, name: value}
                status, error = await refused(await client.send(method, json.dumps(PING).encode(), headers))
                assert (status, error["data"]) == (400, {"reason": "session_conflict"}), (name, value)
    assert await client.status() == 200


async def test_versions_that_differ_are_refused(connect: OpenClient) -> None:
    client = await connect()
    for method in ("POST", "DELETE"):
        headers = {**JSON_POST, "MCP-Protocol-Version": f"{LATEST}, {OTHER}"}
        status, error = await refused(await client.send(method, json.dumps(PING).encode(), headers))
        assert (status, error["code"]) == (400, -32020)
    assert await client.status() == 200


@on_mount
async def test_lines_of_a_header_that_agree_are_one(connect: OpenClient) -> None:
    client = await connect()
    known = {**JSON_POST, "Mcp-Session-Id": client.session_id, "MCP-Protocol-Version": LATEST}
    twice = [*pairs(known), *pairs(known)]
    response = await client.door.send("POST", "/mcp", twice, json.dumps(PING).encode())
    assert response.status == 200
    differing = [*pairs(known), ("mcp-session-id", UNKNOWN)]
    response = await client.door.send("POST", "/mcp", differing, json.dumps(PING).encode())
    assert (await refused(response))[0] == 400


@on_mount
async def test_a_get_stream_takes_copies_too(connect: OpenClient) -> None:
    client = await connect()
    for name, value in (("Mcp-Session-Id", client.session_id), ("MCP-Protocol-Version", LATEST)):
        stream = await client.get(**{name: f"{value}, {value}"})
        assert stream.status == 200, name
        place = (await stream.next_event()).id
        await stream.disconnect()
        again = await client.get(f"{place}, {place}")
        assert again.status == 200
        await again.disconnect()
        assert (await client.get(**{name: f"{value}, {OTHER}"})).status == 400, name


# Whitespace around values


@every_door
@pytest.mark.parametrize("padded", ["{} ", "{}\t", " {} \t "])
async def test_whitespace_is_not_part_of_a_value(connect: OpenClient, padded: str) -> None:
    client = await connect()
    values = {
        "Mcp-Session-Id": client.session_id,
        "MCP-Protocol-Version": LATEST,
        "Accept": BOTH,
        "Content-Type": "application/json",
        "Host": "testserver",
        "Origin": "http://testserver",
    }
    all_padded = {name: padded.format(value) for name, value in values.items()}
    if not client.door.has_get:
        del all_padded["Host"]  # Django's middleware looks at that before the view is asked
    response = await client.post(PING, all_padded)
    assert response.status == 200, await response.body()


# Bodies


@every_door
async def test_a_compressed_body_is_refused_with_what_is_taken(connect: OpenClient) -> None:
    client = await connect()
    body = json.dumps(PING).encode()
    for encoding in ("gzip", "GZIP", "br", "deflate", "zstd", "identity, gzip"):
        response = await client.send("POST", gzip.compress(body), {**JSON_POST, "Content-Encoding": encoding})
        assert response.headers["accept-encoding"] == "identity"
        assert (await refused(response))[0] == 415, encoding
    for encoding in ("identity", "Identity ", ""):
        response = await client.send("POST", body, {**JSON_POST, "Content-Encoding": encoding})
        assert response.status == 200, encoding


async def test_a_body_that_was_lost_with_an_upgrade_is_said_to_be(connect: OpenClient) -> None:
    """Java's HttpClient offers h2c with its first request, and httptools loses that one's body."""
    client = await connect()
    offer: Mapping[str, str] = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2-Settings": "AA",
    }
    status, error = await refused(await client.send("POST", b"", {**JSON_POST, **offer}))
    assert (status, error["code"]) == (400, -32700)
    assert "--http h11" in error["message"]
    assert (await client.post(PING, offer)).status == 200
    assert "--http" not in (await refused(await client.send("POST", b"", JSON_POST)))[1]["message"]


@pytest.mark.parametrize("error_id", [{}, {"id": None}])
async def test_an_error_about_nothing_is_accepted(connect: OpenClient, error_id: dict[str, Any]) -> None:
    client = await connect()
    message = {"jsonrpc": "2.0", **error_id, "error": {"code": -32700, "message": "Parse error"}}
    response = await client.post(message)
    assert (response.status, await response.body()) == (202, b"")
    missing = await client.post(message, {"Mcp-Session-Id": None})
    assert missing.status == 400
    assert await client.status() == 200


# Behind a proxy


async def origin_status(client: McpClient, origin: str, **more: str) -> int:
    return (await client.post(PING, {"Origin": origin, **more})).status


@every_door
async def test_an_http_page_is_no_page_of_an_https_endpoint(connect: OpenClient, settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    client = await connect()
    for proto, scheme, status in (
        ("https", "https", 200),
        ("https", "http", 403),
        ("https, http", "http", 403),
        ("http", "http", 200),
    ):
        found = await origin_status(client, f"{scheme}://testserver", **{"X-Forwarded-Proto": proto})
        assert found == status, (proto, scheme)
    spoofed = {"X_Forwarded_Proto": "http", "X-Forwarded-Proto": "https"}
    assert await origin_status(client, "http://testserver", **spoofed) == 403


@on_mount
async def test_the_servers_own_tls_counts_too(connect: OpenClient) -> None:
    client = await connect()
    assert isinstance(client.door, AsgiDoor)
    client.door.scheme = "https"
    assert await origin_status(client, "https://testserver") == 200
    assert await origin_status(client, "http://testserver") == 403


@every_door
async def test_the_host_is_found_as_django_finds_it(connect: OpenClient, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["shop.example", "testserver"]
    client = await connect()
    forwarded = {"X-Forwarded-Host": "shop.example"}
    own = "http://shop.example"
    # A header that the project does not trust says nothing.
    assert await origin_status(client, own, **forwarded) == 403
    settings.USE_X_FORWARDED_HOST = True
    settings.ALLOWED_HOSTS = ["shop.example"]
    assert await origin_status(client, own, **forwarded) == 200
    assert await origin_status(client, "http://testserver", **forwarded) == 403
    if client.door.has_get:
        for headers, status in ((forwarded, 200), ({}, 421), ({"X-Forwarded-Host": "evil.example"}, 421)):
            assert (await client.post(PING, headers)).status == status, headers
            stream = await client.get(**headers)
            assert stream.status == status, headers
            await stream.disconnect()


# Prefixes


@on_mount
@pytest.mark.parametrize(
    ("root_path", "forced", "target"),
    [
        ("/app", None, "/app/mcp"),  # uvicorn --root-path
        ("/app", None, "/mcp"),  # daphne --root-path
        ("/app/", None, "/mcp"),
        ("", "/app", "/mcp"),  # a proxy that strips the prefix
        ("", "/app/", "/app/mcp"),
        ("/other", "/app", "/mcp"),
    ],
)
async def test_the_endpoint_event_leads_back(
    door: Door, settings: Any, root_path: str, forced: str | None, target: str
) -> None:
    settings.FORCE_SCRIPT_NAME = forced
    assert isinstance(door, AsgiDoor)
    door.root_path = root_path
    client = McpClient(door, target)
    stream = await client.get()
    await stream.next_event()
    url = (await stream.next_event()).data
    assert url.startswith("/app/mcp?sse_session=")
    for path in {url, url.removeprefix("/app")} if target == "/mcp" else {url}:
        client.path = path
        assert await client.status() == 202, path
        assert (await stream.next_message())["result"] == {}


@on_mount
async def test_a_prefix_is_a_whole_part_of_the_path(door: Door, settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/mc"
    assert await McpClient(door, "/mcp").status(initialize()) == 200


@on_mount
async def test_the_endpoint_event_is_a_url(door: Door, settings: Any) -> None:
    path = "/münchen 1"
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": {path: "tests.servers:server"}}
    fresh = AsgiDoor(mount(_nothing), has_get=True)
    stream = await McpClient(fresh, "/m%C3%BCnchen%201").get()
    await stream.next_event()
    assert (await stream.next_event()).data.startswith("/m%C3%BCnchen%201?sse_session=")
    await fresh.close()


@doors("django")
async def test_the_view_names_the_path_as_the_client_sees_it(connect: OpenClient, settings: Any) -> None:
    client = await connect()
    assert isinstance(client.door, AsgiDoor)
    assert json.loads(await client.call("seen"))["url"] == "http://testserver/mcp"
    for forced, root_path in ((None, "/app"), ("/app", "")):
        settings.FORCE_SCRIPT_NAME, client.door.root_path = forced, root_path
        assert json.loads(await client.call("seen"))["url"] == "http://testserver/app/mcp"


# Through Django


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(scope)


@pytest.fixture
def through_django(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "POST_THROUGH_DJANGO": True}


async def test_neither_the_servers_log_nor_djangos_pages_have_the_id(
    process: None, through_django: None
) -> None:
    """A server logs its scope; Django's pages and reports, and what watches it, show its request."""
    shown: list[bytes] = []

    def note(scope: Any, **_: Any) -> None:
        shown.append(scope["query_string"])

    django: Any = get_asgi_application()
    door = AsgiDoor(mount(django), has_get=True)
    client = await McpClient(door).open()
    known, client.session_id = str(client.session_id), None
    request_started.connect(note)
    try:
        for parameter, status in (("session_id", 200), ("sse_session", 202)):
            client.path = f"/mcp?a=1&{parameter}={known}"
            assert await client.status() == status
            redacted = f"a=1&{parameter}=redacted".encode()
            assert (door.scopes[-1]["query_string"], shown[-1]) == (redacted, redacted)
    finally:
        request_started.disconnect(note)
        await door.close()


async def test_other_pages_have_their_query(process: None) -> None:
    """Other apps have parameters of that name too; only the server's log need not."""
    shown: list[bytes] = []

    async def django(scope: Any, receive: Any, send: Any) -> None:
        shown.append(scope["query_string"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    door = AsgiDoor(mount(django), has_get=True)
    assert (await McpClient(door, "/paid?session_id=cs_1&b=2").send("GET")).status == 200
    assert shown == [b"session_id=cs_1&b=2"]
    assert door.scopes[-1]["query_string"] == b"session_id=redacted&b=2"
    await door.close()


# Handshakes of WebSockets


@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/handshake"])
async def test_a_websocket_is_refused(process: None, through_django: None, path: str) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "query_string": b"session_id=x", "headers": []}
    await mount(_nothing)(scope, receive, send)
    assert sent == [{"type": "websocket.close"}]
    assert scope["query_string"] == b"session_id=redacted"


# One form of an answer


ONE_FORM: Final = {"json": "application/json", "sse": "text/event-stream"}


async def answered(client: McpClient, message: Any, form: str) -> Any:
    """The answer to a POST that accepts one form, and comes in it."""
    response = await client.post(message, {"Accept": ONE_FORM[form]})
    assert response.status == 200, await response.body()
    assert response.headers["content-type"] == ONE_FORM[form]
    if form == "json":
        return await response.json()
    return (await response.messages())[-1]


@every_door
@pytest.mark.parametrize("form", ONE_FORM)
async def test_who_accepts_one_form_gets_that(door: Door, form: str) -> None:
    client = McpClient(door, version="2025-03-26")
    response = await client.post(initialize(client.version), {"Accept": ONE_FORM[form]})
    assert response.headers["content-type"] == ONE_FORM[form]
    client.session_id = response.headers["mcp-session-id"]
    await client.notify("notifications/initialized")
    assert await answered(client, PING, form) == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert text_of(await answered(client, call("progress", {"steps": 2}, token="t"), form))
    batch = await answered(client, [request("ping", id=1), request("ping", id="b")], form)
    assert {each["id"] for each in batch} == {1, "b"}
    # What is refused is an error of HTTP, and its body is JSON.
    status, error = await refused(await client.post({}, {"Accept": ONE_FORM[form]}))
    assert (status, error["code"]) == (400, -32600)


async def test_a_tool_that_asks_a_client_of_json_alone_is_told_that_it_cannot(connect: OpenClient) -> None:
    client = await connect()
    answer = await answered(client, call("elicit", {"message": "?"}), "json")
    assert "elicitation/create" in answer["error"]["message"]


@on_mount
@pytest.mark.parametrize("form", ONE_FORM)
async def test_a_long_call_comes_in_the_form_that_is_accepted(
    connect: OpenClient, gate: str, form: str
) -> None:
    client = await connect(path="/soon")
    waiting = asyncio.create_task(answered(client, call("slow", {"gate": gate}), form))
    await gates[gate].reached()
    gates[gate].open()
    assert text_of(await waiting)


async def test_who_must_accept_both_forms_is_refused_with_one(connect: OpenClient) -> None:
    client = await connect(path="/strict")
    for accept in ONE_FORM.values():
        assert (await client.post(PING, {"Accept": accept})).status == 406
        guide = {"Mcp-Session-Id": None, "X-Session-ID": client.session_id}
        assert (await client.post(PING, {**guide, "Accept": accept})).status == 200


# When to come back


def closed_by(hub: Any, why: Closing) -> None:
    hub.connections.close_all(why)


@on_mount
@pytest.mark.parametrize("version", VERSIONS[1:])
async def test_before_a_close_nothing_comes_that_a_client_reads_as_json(
    connect: OpenClient, version: str
) -> None:
    client = await connect(version=version)
    stream = await client.get()
    if version == LATEST:
        assert (await stream.next_event()).retry is None
    closed_by(get_hub(), Closing.DRAINING)
    events = await stream.events()
    assert [(each.retry, each.data) for each in events] == ([(1000, None)] if version == LATEST else [])


@on_mount
async def test_a_client_of_the_guide_is_told_on_an_event_with_data(door: Door) -> None:
    """2024-11-05 clients have such streams too, skip events that they do not know, and parse the rest."""
    stream = await McpClient(door).get()
    told = [await stream.next_event(), await stream.next_event()]
    assert [each.retry for each in told] == [None, None]
    closed_by(get_hub(), Closing.DRAINING)
    (last,) = await stream.events()
    assert (last.event, last.retry, last.data) == ("heartbeat", 1000, "{}")


@on_mount
async def test_retry_may_come_first(connect: OpenClient, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "RETRY_FIRST": True, "RETRY_MILLISECONDS": 7}
    client = await connect()
    for stream in (await client.get(), await McpClient(client.door).get()):
        assert (await stream.next_event()).retry == 7
        await stream.disconnect()


@on_mount
async def test_a_get_while_the_process_stops_is_sent_away(connect: OpenClient) -> None:
    opened = {version: await connect(version=version) for version in VERSIONS[1:]}
    current().draining = True
    for version, client in opened.items():
        stream = await client.get()
        assert stream.status == 200
        events = [(each.retry, each.data) for each in await stream.events()]
        assert events == ([(1000, None)] if version == LATEST else []), version
    (event,) = await (await McpClient(client.door).get()).events()
    assert (event.event, event.retry) == ("heartbeat", 1000)
    # A balancer that asks whether the process serves is not told that it does.
    for accept in ("*/*", "application/json", None):
        asked = await McpClient(client.door).send("GET", headers={"Accept": accept})
        assert (asked.status, asked.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize("path", ["/mcp", "/handshake"])
async def test_a_probe_is_answered_while_the_process_stops(connect: OpenClient, path: str) -> None:
    client = await connect(path=path)
    current().draining = True
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "probe", "version": "1"},
    }
    probe = request("server/discover", {"_meta": meta}, id=5)
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "server/discover", "Mcp-Session-Id": None}
    response = await client.post(probe, headers)
    assert (response.status, (await response.json())["id"]) == (200 if path == "/mcp" else 400, 5)
    stopping = await client.post(PING)
    assert (stopping.status, stopping.headers["retry-after"]) == (503, "1")
    assert (await client.delete()).status == 503


@every_door
@pytest.mark.parametrize(
    ("error", "status"), [(StoreUnavailable("away"), 503), (SessionEnded(), 404), (OSError("what"), 500)]
)
async def test_every_refusal_of_a_request_has_its_id(
    connect: OpenClient, error: Exception, status: int
) -> None:
    client = await connect()
    with mock.patch.object(get_store(), "aload", side_effect=error):
        response = await client.post(request("ping", id="mine"))
        told = await response.json()
        nameless = await (await client.post([request("ping", id="mine")])).json()
    assert (response.status, told["id"]) == (status, "mine")
    assert "id" not in nameless


# Sessions that nobody uses


@pytest.fixture
def soon(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "UNUSED_SECONDS": 0.05}


async def opened_by_get(door: Door) -> tuple[McpClient, Response]:
    client = McpClient(door)
    stream = await client.get()
    session_id = (await stream.next_event()).json()["session_id"]
    await stream.next_event()
    client.more_headers["X-Session-ID"] = session_id
    return client, stream


async def is_ended_by_a_look() -> bool:
    key = (await only_session()).key
    record = await get_store().aload_by_key(key)
    assert record is not None
    await look(record)
    return (await only_session()).end_reason == "unused"


@on_mount
async def test_a_session_that_was_never_used_ends_after_its_stream(door: Door, soon: None) -> None:
    ended = asyncio.Event()

    async def on_ended(reason: str, **_: Any) -> None:
        assert reason == "unused"
        ended.set()

    session_ended.connect(on_ended)
    client, stream = await opened_by_get(door)
    await stream.disconnect()
    await asyncio.wait_for(ended.wait(), DEADLINE)
    assert await client.status() == 404


@on_mount
@pytest.mark.parametrize("use", ["request", "handshake", "event", "return", "data"])
async def test_a_session_that_was_used_stays(door: Door, use: str) -> None:
    client, stream = await opened_by_get(door)
    key = (await only_session()).key
    if use == "request":
        assert await client.status() == 200
    elif use == "handshake":
        assert await client.status(initialize()) == 200
    elif use == "event":
        await asend_session_message(key, event="note", data={})
        await stream.next_event()
    elif use == "data":
        async with (await aload_session(key)).edit() as data:
            data["seen"] = True
    else:
        await (await client.get()).disconnect()
    await stream.disconnect()
    assert not await is_ended_by_a_look()


@on_mount
async def test_a_session_whose_stream_is_open_stays(door: Door) -> None:
    _, stream = await opened_by_get(door)
    assert not await is_ended_by_a_look()
    await stream.disconnect()
    assert await is_ended_by_a_look()


@on_mount
async def test_sessions_of_the_handshake_are_not_looked_at(connect: OpenClient, soon: None) -> None:
    client = await connect()
    stream = await client.get()
    with mock.patch("mcp_sessions.protocol.streams.end_if_unused") as looked:
        await stream.disconnect()
    assert not looked.called


@on_mount
async def test_unused_sessions_may_be_left_alone(door: Door, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "UNUSED_SECONDS": None}
    _, stream = await opened_by_get(door)
    with mock.patch("mcp_sessions.lifecycle.unused.current") as runtime:
        runtime.return_value.draining = False
        await stream.disconnect()
    assert runtime.called and not runtime.return_value.service.called
