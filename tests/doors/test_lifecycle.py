"""The handshake, the session it opens and how that ends."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest

from mcp_sessions.identifiers import digest_of
from mcp_sessions.models import Session
from tests.doors.client import LATEST, VERSIONS, McpClient, call, initialize, request
from tests.doors.conftest import OpenClient, every_door, through_django
from tests.doors.doors import Door
from tests.process import in_thread, only_session, rows

NO_ROWS = {"Session": 0, "Stream": 0, "StreamEvent": 0, "Subscription": 0}
ONE_SESSION = {**NO_ROWS, "Session": 1}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_supported_version_is_echoed_and_kept(door: Door, version: str) -> None:
    client = McpClient(door, version=version)
    response = await client.post(initialize(version))
    result = (await response.json())["result"]
    assert response.status == 200
    assert result["protocolVersion"] == version
    # The author has given no version: it is that of the library, as with FastMCP.
    assert result["serverInfo"] == {"name": "doors", "version": metadata.version("mcp")}
    assert result["instructions"] == "For tests."
    assert (await only_session()).metadata["protocol_version"] == version


@pytest.mark.parametrize("version", ["1999-01-01", "2026-07-28", "2027-01-01", "nonsense", ""])
async def test_another_version_is_answered_by_the_latest_with_a_handshake(door: Door, version: str) -> None:
    response = await McpClient(door).post(initialize(version))
    assert (await response.json())["result"]["protocolVersion"] == LATEST
    assert (await only_session()).metadata["protocol_version"] == LATEST


@every_door
async def test_initialize_mints_a_session_id(door: Door) -> None:
    first, second = await McpClient(door).open(), await McpClient(door).open()
    assert first.session_id is not None and second.session_id is not None
    for session_id in (first.session_id, second.session_id):
        assert all(0x21 <= ord(character) <= 0x7E for character in session_id)
        assert len(session_id) >= 32
    assert first.session_id != second.session_id
    digests = await in_thread(lambda: set(Session.objects.values_list("digest", flat=True)))
    assert digests == {digest_of(first.session_id), digest_of(second.session_id)}


@every_door
async def test_the_session_keeps_what_the_client_said(door: Door) -> None:
    client = await McpClient(door, more_headers={"User-Agent": "doors/1"}).open({"roots": {}})
    session = await only_session()
    assert session.server == "/mcp"
    assert session.metadata["client"] == {"name": "doors", "version": "1"}
    assert session.metadata["capabilities"] == {"roots": {}}
    assert session.metadata["user_agent"] == "doors/1"
    assert session.metadata["initialized"] is True
    assert str(client.session_id) not in str(vars(session))


FAILING: dict[str, Any] = {
    "no params": None,
    "empty params": {},
    "no clientInfo": {"protocolVersion": LATEST, "capabilities": {}},
    "no capabilities": {"protocolVersion": LATEST, "clientInfo": {"name": "a", "version": "1"}},
    "no version": {"capabilities": {}, "clientInfo": {"name": "a", "version": "1"}},
    "a number for a version": {**initialize()["params"], "protocolVersion": 1},
    "a list for capabilities": {**initialize()["params"], "capabilities": []},
    "a client without a name": {**initialize()["params"], "clientInfo": {"version": "1"}},
    "a client with a number for a name": {
        **initialize()["params"],
        "clientInfo": {"name": 1, "version": "1"},
    },
    "a client that says too much": {
        **initialize()["params"],
        "clientInfo": {"name": "a" * 70_000, "version": "1"},
    },
}


async def test_a_failing_initialize_leaves_nothing(door: Door) -> None:
    for name, params in FAILING.items():
        response = await McpClient(door).post(request("initialize", params, id=7))
        message = await response.json()
        assert response.status == 200, name
        assert message["id"] == 7, name
        assert message["error"]["code"] == -32602, name
        assert "mcp-session-id" not in response.headers, name
    assert await rows() == NO_ROWS


async def test_initialize_on_a_live_session_is_refused(connect: OpenClient) -> None:
    client = await connect()
    response = await client.post(initialize())
    assert response.status == 400
    assert (await response.json())["error"]["code"] == -32600
    assert await rows() == ONE_SESSION
    assert await client.status() == 200


async def test_initialize_with_a_dead_session_is_404(connect: OpenClient) -> None:
    client = await connect()
    await client.delete()
    response = await client.post(initialize())
    assert response.status == 404
    assert await rows() == ONE_SESSION


async def test_a_request_may_follow_initialize_at_once(door: Door) -> None:
    client = McpClient(door)
    response = await client.post(initialize())
    client.session_id = response.headers["mcp-session-id"]
    assert await client.call("echo", {"text": "early"}) == "early"


async def test_a_request_without_a_session_is_400(door: Door) -> None:
    for message in (request("ping"), request("tools/list"), call("echo", {"text": "a"})):
        response = await McpClient(door).post(message)
        assert response.status == 400
        assert (await response.json())["id"] == message["id"]


async def test_the_version_header_may_be_missing_or_another_supported_one(connect: OpenClient) -> None:
    client = await connect()
    for version in (None, *VERSIONS):
        response = await client.post(request("ping"), {"MCP-Protocol-Version": version})
        assert (response.status, await response.json()) == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})


async def test_what_was_negotiated_counts_and_not_the_header(connect: OpenClient) -> None:
    """A batch is answered by the session's revision, whatever the header of the request says."""
    old, new = await connect(version="2025-03-26"), await connect()
    batch = [request("ping", id=1), request("ping", id=2)]
    assert await old.status(batch) == 200
    response = await old.post(batch, {"MCP-Protocol-Version": "2025-11-25"})
    assert response.status == 200
    response = await new.post(batch, {"MCP-Protocol-Version": "2025-03-26"})
    assert response.status == 400


@every_door
async def test_an_unknown_version_header_is_400(connect: OpenClient) -> None:
    client = await connect()
    for version in ("1999-01-01", "nonsense", ""):
        response = await client.post(request("ping"), {"MCP-Protocol-Version": version})
        assert response.status == 400
        assert (await response.json())["id"] == 1
        response = await client.send("DELETE", headers={"MCP-Protocol-Version": version})
        assert response.status == 400
    assert await client.status() == 200


@every_door
async def test_ping(connect: OpenClient) -> None:
    client = await connect()
    response = await client.post(request("ping", id="p"))
    assert response.headers["content-type"] == "application/json"
    assert await response.json() == {"jsonrpc": "2.0", "id": "p", "result": {}}


@pytest.mark.parametrize("request_id", [0, -1, 1, "1", "", "ä\n\x00😀", 2**53, 2**70, "x" * 256])
async def test_the_answer_has_the_id_of_the_request(connect: OpenClient, request_id: Any) -> None:
    client = await connect()
    answer = await client.ask(call("echo", {"text": "a"}, id=request_id))
    assert answer["id"] == request_id
    assert type(answer["id"]) is type(request_id)
    assert set(answer) == {"jsonrpc", "id", "result"}


async def test_an_error_of_a_request_rides_200(connect: OpenClient) -> None:
    client = await connect()
    unknown = await client.ask(request("no/such", id="a"))
    assert (unknown["id"], unknown["error"]["code"]) == ("a", -32601)
    malformed = await client.ask(request("tools/call", {"name": 1}, id="b"))
    assert (malformed["id"], malformed["error"]["code"]) == ("b", -32602)
    # -32002 in these revisions; the SDK gives every revision the code of 2026-07-28.
    missing = await client.ask(request("resources/read", {"uri": "nothing://here"}, id="c"))
    assert missing["id"] == "c" and missing["error"]["code"] in (-32002, -32602)


@every_door
async def test_header_names_have_no_case(connect: OpenClient) -> None:
    client = await connect()
    session_id, client.session_id = client.session_id, None
    for name in ("mcp-session-id", "MCP-SESSION-ID", "Mcp-Session-Id"):
        response = await client.post(request("ping"), {name: session_id})
        assert response.status == 200


@every_door
async def test_delete_ends_the_session(connect: OpenClient) -> None:
    client, bystander = await connect(), await connect()
    await client.call("add", {"item": "tea"})
    response = await client.delete()
    assert (response.status, await response.body()) == (204, b"")
    for _ in range(2):
        assert await client.status() == 404
        assert (await client.delete()).status == 404
        if client.door.has_get:
            assert (await client.get()).status == 404
    response = await client.post(request("ping"))
    message = await response.json()
    assert message["error"]["data"] == {"reason": "session_not_found"}
    assert await bystander.status() == 200


async def test_delete_names_its_session(door: Door) -> None:
    response = await McpClient(door).delete()
    assert response.status == 400
    assert "id" not in await response.json()


@every_door
async def test_a_session_is_known_at_its_own_endpoint_only(connect: OpenClient) -> None:
    client = await connect()
    client.path = "/other"
    assert await client.status() == 404
    assert (await client.delete()).status == 404
    client.path = "/mcp"
    assert await client.status() == 200
    assert await (await connect(path="/other")).call("identify") == "other"


async def test_an_expired_session_is_404(connect: OpenClient) -> None:
    client = await connect()
    await in_thread(lambda: Session.objects.update(expires_at="2020-01-01T00:00:00Z"))
    assert await client.status() == 404


@through_django
async def test_get_is_405_where_there_are_no_streams(connect: OpenClient) -> None:
    client = await connect()
    response = await client.get()
    message = await response.json()
    assert (response.status, response.headers["allow"]) == (405, "POST, DELETE")
    assert "id" not in message and message["error"]["code"] == -32600


@every_door
async def test_the_trailing_slash_does_not_matter(connect: OpenClient) -> None:
    client = await connect()
    client.path = "/mcp/"
    assert await client.call("echo", {"text": "a"}) == "a"


@every_door
async def test_tools_see_the_request_without_its_credentials(connect: OpenClient) -> None:
    client = await connect()
    client.path = f"/mcp?session_id={client.session_id}"
    seen = await client.call("seen", id=5)
    assert str(client.session_id) not in seen
    assert '"request_id": "5"' in seen and '"greeting": "hello"' in seen and LATEST in seen
