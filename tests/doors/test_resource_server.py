"""The endpoint as an OAuth 2.1 resource server, status by status and header by header.

Source: the specification, "Authorization"; RFC 6750 (bearer tokens), RFC 8707 (resource), RFC 9728
(metadata).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from mcp_sessions.security.redaction import redact_query
from tests.doors.client import JSON_POST, VERSIONS, McpClient, initialize, request
from tests.doors.conftest import every_door, on_mount
from tests.doors.doors import AsgiDoor, Door, Response, open_door
from tests.doors.test_modern import MODERN, modern
from tests.doors.test_modern import post as post_modern
from tests.harness.issuer import Issuer, running
from tests.process import rows
from tests.settings import TOKENS

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
METADATA: Final = f"http://testserver{WELL_KNOWN}/tokens"
ELSEWHERE: Final = "https://api.example/.well-known/oauth-protected-resource/shop/scoped"
ANN: Final = {"Authorization": f"Bearer {TOKENS['ann']}"}
REVISIONS: Final = (*VERSIONS, MODERN)


async def challenge(response: Response) -> dict[str, str]:
    """The parameters of the one Bearer challenge."""
    header = response.headers["www-authenticate"]
    assert header.startswith("Bearer "), header
    return dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', header))


async def opening(
    door: Door, revision: str, path: str, headers: dict[str, str | None] | None = None
) -> Response:
    """A client's first request."""
    if revision == MODERN:
        return await post_modern(door, modern(request("tools/list")), path=path, **(headers or {}))
    return await McpClient(door, path=path).post(initialize(revision), headers)


# 401: no valid token


@pytest.mark.parametrize("revision", REVISIONS)
async def test_without_a_token_a_client_learns_where_to_get_one_and_for_what(
    door: Door, revision: str
) -> None:
    response = await opening(door, revision, "/scoped")
    assert (response.status, response.headers["content-type"]) == (401, "application/json")
    assert await challenge(response) == {"scope": "read write", "resource_metadata": ELSEWHERE}
    assert "id" not in await response.json()
    assert (await rows())["Session"] == 0


@pytest.mark.parametrize("revision", REVISIONS)
async def test_an_invalid_token_is_told_apart_from_none(door: Door, revision: str) -> None:
    response = await opening(door, revision, "/scoped", {"Authorization": "Bearer nobody"})
    assert response.status == 401
    told = await challenge(response)
    assert told.pop("error_description")
    assert told == {"error": "invalid_token", "scope": "read write", "resource_metadata": ELSEWHERE}


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE", "PUT", "HEAD", "OPTIONS"])
async def test_every_method_needs_a_token(door: Door, method: str) -> None:
    response = await McpClient(door, path="/tokens").send(method, headers={"Accept": "text/event-stream"})
    assert response.status == 401
    assert await challenge(response) == {"scope": "read", "resource_metadata": METADATA}


async def test_every_request_of_a_session_needs_a_token(door: Door) -> None:
    client = await McpClient(door, path="/tokens", more_headers=dict(ANN)).open()
    client.more_headers = {}
    for answer in (await client.post(request("ping")), await client.get(), await client.delete()):
        assert answer.status == 401
    client.more_headers = dict(ANN)
    assert await client.status() == 200


# 403: a valid token that permits too little


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_token_that_permits_too_little_is_told_all_scopes_at_once(door: Door, revision: str) -> None:
    response = await opening(door, revision, "/scoped", dict(ANN))
    assert (response.status, response.headers["content-type"]) == (403, "application/json")
    told = await challenge(response)
    assert told.pop("error_description")
    # The settings require offline_access, too: no client is ever told to ask for it.
    assert told == {"error": "insufficient_scope", "scope": "read write", "resource_metadata": ELSEWHERE}
    assert (await rows())["Session"] == 0


async def test_a_refresh_token_is_never_required(door: Door, settings: Any) -> None:
    scoped = {**settings.MCP_SESSIONS["SERVERS"]["/scoped"], "REQUIRED_SCOPES": ["read", "offline_access"]}
    servers = {**settings.MCP_SESSIONS["SERVERS"], "/scoped": scoped}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": servers}
    assert (await opening(door, VERSIONS[-1], "/scoped", dict(ANN))).status == 200


# 400: a token that is not sent as it must be


@every_door
@pytest.mark.parametrize(
    "given",
    [
        f"Bearer {TOKENS['ann']}, Bearer {TOKENS['ben']}",
        f"Bearer {TOKENS['ann']}, Bearer {TOKENS['ann']}",
        f"Basic YTpi, Bearer {TOKENS['ann']}",
        f"Bearer {TOKENS['ann']} {TOKENS['ann']}",
        f'Bearer "{TOKENS["ann"]}"',
        "Bearer",
        "bearer é",
    ],
)
async def test_a_malformed_credential_is_a_bad_request(door: Door, given: str) -> None:
    response = await McpClient(door, path="/tokens").post(initialize(), {"Authorization": given})
    assert response.status == 400
    told = await challenge(response)
    assert (told["error"], told["resource_metadata"]) == ("invalid_request", METADATA)
    assert "scope" not in told
    assert TOKENS["ann"] not in str(response.headers) + str(await response.json())


async def test_two_headers_with_a_token_each_are_a_bad_request(door: Door) -> None:
    target = [("Authorization", f"Bearer {TOKENS[name]}") for name in ("ann", "ben")]
    response = await door.send("POST", "/tokens", [*JSON_POST.items(), *target], b"{}")
    assert response.status == 400


@every_door
@pytest.mark.parametrize("headers", [{}, ANN])
async def test_a_token_in_the_url_is_never_taken(door: Door, headers: dict[str, str | None]) -> None:
    client = McpClient(door, path=f"/tokens?access_token={TOKENS['ann']}", more_headers=dict(headers))
    response = await client.post(initialize())
    assert response.status == 400
    assert (await challenge(response))["error"] == "invalid_request"


def test_a_token_in_the_url_stays_out_of_logs() -> None:
    assert redact_query("a=1&access_token=secret") == "a=1&access_token=redacted"


async def test_a_parameter_of_that_name_is_nothing_to_an_endpoint_without_tokens(door: Door) -> None:
    assert await McpClient(door, path="/mcp?access_token=x").status(initialize()) == 200


# Tokens of an authorization server


@pytest.fixture
def issuer(settings: Any) -> Iterator[Issuer]:
    """/tokens takes this issuer's tokens."""
    with running() as own:
        backend = "mcp_sessions.security.authentication.JSONWebTokens"
        entry = {
            "SERVER": "tests.servers:server",
            "AUTHENTICATORS": [{"BACKEND": backend, "OPTIONS": {"issuer": own.url}}],
            "REQUIRED_SCOPES": ["read"],
        }
        servers = {**settings.MCP_SESSIONS["SERVERS"], "/tokens": entry}
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": servers}
        yield own


def bearing(door: Door, token: str) -> McpClient:
    return McpClient(door, path="/tokens", more_headers={"Authorization": f"Bearer {token}"})


async def test_the_issuer_of_tokens_is_the_authorization_server(door: Door, issuer: Issuer) -> None:
    response = await door.send("GET", f"{WELL_KNOWN}/tokens", [], b"")
    assert (await response.json())["authorization_servers"] == [issuer.url]


async def test_a_refreshed_token_goes_on_with_the_session(door: Door, issuer: Issuer) -> None:
    audience = "http://testserver/tokens"
    client = await bearing(door, issuer.token(aud=audience, scope="read")).open()
    other = bearing(door, issuer.token(aud=audience, scope="read write", jti="refreshed"))
    other.session_id = client.session_id
    assert await other.status() == 200
    stranger = bearing(door, issuer.token(aud=audience, scope="read", sub="ben"))
    stranger.session_id = client.session_id
    assert await stranger.status() == 404


@pytest.mark.parametrize(
    ("claims", "status", "code"),
    [
        ({"scope": "read", "exp": 1}, 401, "invalid_token"),
        ({"scope": "read", "aud": "http://testserver/scoped"}, 401, "invalid_token"),
        ({"scope": "write"}, 403, "insufficient_scope"),
    ],
)
async def test_a_token_that_does_not_do(
    door: Door, issuer: Issuer, claims: dict[str, Any], status: int, code: str
) -> None:
    token = issuer.token(**{"aud": "http://testserver/tokens", **claims})
    response = await bearing(door, token).post(initialize())
    told = await challenge(response)
    assert (response.status, told["error"], told["scope"]) == (status, code, "read")
    assert told["resource_metadata"] == METADATA
    assert token not in str(response.headers) + str(await response.json())


@every_door
async def test_a_token_is_for_this_endpoint_or_for_none(door: Door, issuer: Issuer) -> None:
    """Token passthrough: a token of the same issuer and user was issued for another server, or for any."""
    for audience in (
        None,
        "",
        "http://testserver",
        "http://testserver/scoped",
        "https://evil.example/tokens",
    ):
        response = await bearing(door, issuer.token(aud=audience, scope="read")).post(initialize())
        told = await challenge(response)
        assert (response.status, told["error"]) == (401, "invalid_token"), audience
    assert (await rows())["Session"] == 0


async def test_a_token_that_nobody_can_verify_now_is_no_invalid_one(door: Door, issuer: Issuer) -> None:
    """A client that is answered 401 throws its token away, and asks its user to log in again."""
    issuer.is_away = True
    response = await bearing(door, issuer.token(aud="http://testserver/tokens")).post(initialize())
    assert (response.status, response.headers["retry-after"]) == (503, "1")
    assert "www-authenticate" not in response.headers
    assert (await response.json())["error"]["data"]["reason"] == "authentication_unavailable"


# The metadata


@every_door
async def test_the_metadata_of_an_endpoint(door: Door) -> None:
    response = await door.send("GET", f"{WELL_KNOWN}/tokens", [], b"")
    assert response.status == 200
    assert await response.json() == {
        "resource": "http://testserver/tokens",
        "authorization_servers": ["https://login.example"],
        "scopes_supported": ["read"],
        "bearer_methods_supported": ["header"],
        "resource_name": "doors",
    }
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cache-control"] == "public, max-age=600"


async def test_the_public_url_of_an_endpoint_is_the_settings(door: Door) -> None:
    """Its metadata is where the public URL says, and where the endpoint itself is."""
    for place in ("/shop/scoped", "/scoped", "/scoped/"):
        response = await door.send("GET", f"{WELL_KNOWN}{place}", [], b"")
        document = await response.json()
        assert document["resource"] == "https://api.example/shop/scoped"
        assert document["scopes_supported"] == ["read", "write"]


@every_door
async def test_pages_of_any_origin_may_read_it(door: Door) -> None:
    """The SDK's client in a browser sends a header of its own, for which the browser asks first."""
    asked = [
        ("Origin", "https://inspector.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "mcp-protocol-version"),
    ]
    response = await door.send("OPTIONS", f"{WELL_KNOWN}/tokens", asked, b"")
    assert (response.status, response.headers["access-control-allow-origin"]) == (204, "*")
    assert response.headers["access-control-allow-headers"] == "*"
    read = await door.send("GET", f"{WELL_KNOWN}/tokens", asked[:1], b"")
    assert read.status == 200


@every_door
async def test_the_metadata_is_only_read(door: Door) -> None:
    response = await door.send("POST", f"{WELL_KNOWN}/tokens", [("Content-Type", "text/plain")], b"x")
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await door.send("HEAD", f"{WELL_KNOWN}/tokens", [], b"")).status == 200


@every_door
@pytest.mark.parametrize("place", ["/mcp", "/unknown", "/tokens/more", "tokens", "s", ""])
async def test_what_needs_no_token_has_no_metadata(door: Door, place: str) -> None:
    """Nor has the root, with more than one that does: it would be another one's for every other client."""
    assert (await door.send("GET", f"{WELL_KNOWN}{place}", [], b"")).status == 404


@every_door
async def test_the_root_has_that_of_the_only_endpoint_that_needs_a_token(door: Door, settings: Any) -> None:
    servers = {path: each for path, each in settings.MCP_SESSIONS["SERVERS"].items() if path != "/scoped"}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": servers}
    response = await door.send("GET", WELL_KNOWN, [], b"")
    assert (await response.json())["resource"] == "http://testserver/tokens"


async def test_its_host_is_one_that_is_served(door: Door, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    assert (await door.send("GET", f"{WELL_KNOWN}/tokens", [("Host", "evil.example")], b"")).status == 421


async def test_an_https_proxy_in_front(door: Door, settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.USE_X_FORWARDED_HOST = True
    proxied = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "Shop.example:443")]
    document = await (await door.send("GET", f"{WELL_KNOWN}/tokens", proxied, b"")).json()
    assert document["resource"] == "https://shop.example/tokens"
    response = await McpClient(door, path="/tokens", more_headers=dict(proxied)).post(initialize())
    told = await challenge(response)
    assert told["resource_metadata"] == f"https://shop.example{WELL_KNOWN}/tokens"


@pytest.mark.parametrize("door", ["django", "mount"], indirect=True)
@pytest.mark.parametrize(
    ("root_path", "forced", "target"),
    [
        ("/app", None, f"/app{WELL_KNOWN}/app/tokens"),  # uvicorn --root-path
        ("/app", None, f"{WELL_KNOWN}/app/tokens"),  # daphne --root-path
        ("", "/app", f"{WELL_KNOWN}/app/tokens"),  # a proxy that strips the prefix
        ("", "/app", f"/app{WELL_KNOWN}/tokens"),  # a proxy that hands on what is below it alone
    ],
)
async def test_below_a_prefix(
    door: Door, settings: Any, root_path: str, forced: str | None, target: str
) -> None:
    settings.FORCE_SCRIPT_NAME = forced
    assert isinstance(door, AsgiDoor)
    door.root_path = root_path
    document = await (await door.send("GET", target, [], b"")).json()
    assert document["resource"] == "http://testserver/app/tokens"
    response = await McpClient(door, path="/app/tokens").post(initialize())
    assert (await challenge(response))["resource_metadata"] == f"http://testserver{WELL_KNOWN}/app/tokens"


@on_mount
async def test_pages_of_allowed_origins_may_read_the_challenge(door: Door, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "ALLOWED_ORIGINS": ["https://app.example"]}
    fresh = open_door("mount")
    response = await McpClient(fresh, path="/tokens").post(initialize(), {"Origin": "https://app.example"})
    assert response.status == 401
    assert "WWW-Authenticate" in response.headers["access-control-expose-headers"]
    await fresh.close()
