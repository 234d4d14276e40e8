"""Server objects that bring authentication are protected by it: the official SDK's and FastMCP's."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from tests.doors.client import McpClient, call, initialize, request, text_of
from tests.doors.conftest import on_mount
from tests.doors.doors import Door, Response
from tests.doors.test_modern import modern, post
from tests.guarded import ISSUER, revoked
from tests.process import rows

pytestmark = [pytest.mark.django_db(transaction=True), on_mount]

OWN: Final = ("/sdk", "/remote", "/verified", "/multi")
"""Endpoints with the same tools and users, each of another kind."""
NAMES: Final = ("sdk", "remote", "verified", "multi", "open_to_all")
VERIFIER: Final = {"AUTHENTICATORS": ["tests.guarded.verifier"]}
METADATA: Final = "https://mcp.example/.well-known/oauth-protected-resource"


@pytest.fixture(autouse=True)
def guarded(settings: Any) -> None:
    served: dict[str, Any] = {f"/{name}": {"SERVER": f"tests.guarded:{name}"} for name in NAMES}
    served["/named"] = {"SERVER": "tests.guarded:open_to_all", **VERIFIER}
    served["/explicit"] = {
        "SERVER": "tests.guarded:sdk",
        "AUTHENTICATORS": ["mcp_sessions.security.authentication.AllowAnonymous"],
    }
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": served}


@pytest.fixture
def door(guarded: None, door: Door) -> Door:
    """The door, opened to these servers."""
    return door


def client(door: Door, path: str, token: str | None) -> McpClient:
    return McpClient(door, path=path, more_headers=bearer(token))


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


async def challenge(response: Response, status: int) -> str:
    body = await response.json()
    assert response.status == status, body
    return response.headers["www-authenticate"]


@pytest.mark.parametrize("path", OWN)
async def test_a_server_that_brings_auth_is_protected_by_it(door: Door, path: str) -> None:
    for token in (None, "nobody", "ann-old"):
        await challenge(await client(door, path, token).post(initialize()), 401)
        await challenge(await post(door, modern(call("whoami")), path=path, **bearer(token)), 401)
    assert (await rows())["Session"] == 0
    await client(door, path, "ann-1").open()


async def test_the_challenge_says_what_the_server_object_says(door: Door) -> None:
    """As the libraries' own applications do: the SDK without a scope, which a client need not guess here."""
    told = await challenge(await client(door, "/sdk", None).post(initialize()), 401)
    assert told == f'Bearer scope="read", resource_metadata="{METADATA}/sdk"'
    told = await challenge(await client(door, "/remote", None).post(initialize()), 401)
    assert told == f'Bearer scope="api://shop/read", resource_metadata="{METADATA}/remote"'
    told = await challenge(await client(door, "/verified", None).post(initialize()), 401)
    assert told == "Bearer"


@pytest.mark.parametrize(("path", "asked"), [("/sdk", "read"), ("/remote", "api://shop/read")])
async def test_a_scope_that_the_server_object_requires_must_be_there(
    door: Door, path: str, asked: str
) -> None:
    told = await challenge(await client(door, path, "ann-bare").post(initialize()), 403)
    assert 'error="insufficient_scope"' in told and f'scope="{asked}"' in told


async def test_a_token_for_another_resource_is_refused_where_the_server_checks(door: Door) -> None:
    told = await challenge(await client(door, "/sdk", "ann-elsewhere").post(initialize()), 401)
    assert 'error_description="The token was issued for another resource."' in told
    await client(door, "/sdk", "ben-1").open()
    await client(door, "/verified", "ann-elsewhere").open()


@pytest.mark.parametrize("path", OWN)
@pytest.mark.parametrize("tool", ["whoami", "awhoami"])
async def test_tools_find_the_token_of_this_request(door: Door, path: str, tool: str) -> None:
    """Also where the session was opened with another one of the same user; in each era."""
    ann = await client(door, path, "ann-1").open()
    for token, scopes in (("ann-1", ["read"]), ("ann-2", ["read", "write"])):
        ann.more_headers = bearer(token)
        old = json.loads(await ann.call(tool))
        response = await post(door, modern(call(tool)), path=path, **bearer(token))
        new = json.loads(text_of(await response.json()))
        for told in (old, new):
            client_id = told["sdk"][1]
            assert told["sdk"] == [token, client_id, "ann", scopes]
            assert told["fastmcp"] == [token, client_id, "ann@example.com"]
            assert told["ours"] == [ISSUER, "ann", client_id]
            assert told["claims"]["email"] == "ann@example.com"


async def test_without_authentication_there_is_no_token(door: Door) -> None:
    told = json.loads(await (await client(door, "/open_to_all", "ann-1").open()).call("whoami"))
    assert told == {"sdk": None, "fastmcp": None, "ours": ["", "", ""], "claims": {}}


async def test_a_session_is_its_owners_and_a_token_that_is_revoked_opens_nothing(door: Door) -> None:
    ann, ben = await client(door, "/sdk", "ann-1").open(), client(door, "/sdk", "ben-1")
    ben.session_id = ann.session_id
    assert await ben.status(call("whoami")) == 404
    revoked.add("ann-1")
    try:
        await challenge(await ann.post(request("ping")), 401)
    finally:
        revoked.clear()


async def test_a_verifier_can_be_named_in_the_settings(door: Door) -> None:
    await challenge(await client(door, "/named", "nobody").post(initialize()), 401)
    told = json.loads(await (await client(door, "/named", "ann-1").open()).call("whoami"))
    assert told["ours"] == [ISSUER, "ann", "inspector"]


async def test_authenticators_in_the_settings_take_the_place_of_the_servers_own(door: Door) -> None:
    response = await client(door, "/explicit", None).post(initialize())
    assert response.status == 200


async def test_a_verifier_that_raises_lets_nobody_in(door: Door) -> None:
    assert (await client(door, "/sdk", "trouble").post(initialize())).status == 500
    assert (await rows())["Session"] == 0


async def test_tools_get_no_headers_with_credentials(door: Door) -> None:
    ann = await client(door, "/sdk", "ann-1").open()
    ann.more_headers["Cookie"] = "sessionid=0123456789"
    response = await post(door, modern(call("headers")), path="/sdk", **ann.more_headers)
    for told in (await ann.ask(call("headers")), await response.json()):
        names = set(told["result"]["structuredContent"]["result"])
        assert "content-type" in names
        assert not names & {"authorization", "cookie", "mcp-session-id"}


async def test_a_scope_that_is_missing_is_missing_for_every_method(door: Door) -> None:
    ann = await client(door, "/sdk", "ann-1").open()
    ann.more_headers = bearer("ann-bare")
    for response in (await ann.post(request("ping")), await ann.get(), await ann.delete()):
        assert 'error="insufficient_scope"' in await challenge(response, 403)
    ann.more_headers = bearer("ann-1")
    assert await ann.status() == 200
