"""What server objects bring besides tools: what they say of their resource, and routes of their own."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.security.wellknown import WELL_KNOWN
from tests.doors.client import initialize
from tests.doors.doors import Door, Response, open_door
from tests.doors.test_server_auth import METADATA, challenge, client
from tests.guarded import ISSUER, RESOURCE

pytestmark = pytest.mark.django_db(transaction=True)

BACK: Final = "https://app.example/back"
VERIFIER: Final = "v" * 43


@pytest.fixture
def serve(settings: Any, process: None) -> Any:
    def opened(*names: str) -> Door:
        served = {f"/{name}": f"tests.guarded:{name}" for name in names}
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": served}
        return open_door("mount")

    return opened


async def test_the_metadata_says_what_the_server_object_says(serve: Any) -> None:
    door = serve("sdk", "remote", "verified")
    assert await metadata(door, "/sdk") == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["read"],
        "bearer_methods_supported": ["header"],
        "resource_name": "guarded",
    }
    remote = await metadata(door, "/remote")
    assert (remote["resource"], remote["resource_name"]) == ("https://mcp.example/remote", "The shop")
    assert remote["authorization_servers"] == [f"{ISSUER}/"]
    # Nobody knows who issues its tokens.
    assert (await send(door, "GET", f"{WELL_KNOWN}/verified")).status == 404


async def test_what_the_settings_say_takes_the_place_of_what_the_server_object_says(
    settings: Any, process: None
) -> None:
    own = {"AUTHORIZATION_SERVERS": ["https://a.example"], "REQUIRED_SCOPES": ["admin"]}
    own["RESOURCE_URL"] = "https://shop.example/mcp"
    settings.MCP_SESSIONS = {"SERVERS": {"/sdk": {"SERVER": "tests.guarded:sdk", **own}}}
    door = open_door("mount")
    found = await metadata(door, "/sdk")
    assert (found["resource"], found["authorization_servers"]) == (own["RESOURCE_URL"], ["https://a.example"])
    told = await challenge(await client(door, "/sdk", "ann-1").post(initialize()), 403)
    assert 'scope="admin"' in told and "shop.example" in told


async def metadata(door: Door, path: str) -> dict[str, Any]:
    return dict(await (await send(door, "GET", f"{WELL_KNOWN}{path}")).json())


async def test_middleware_that_cannot_be_honoured_lets_nobody_in(process: None, settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVERS": {"/walled": "tests.guarded:walled"}}
    with pytest.raises(ConfigurationError, match="get_middleware"):
        await client(open_door("mount"), "/walled", "ann-1").post(initialize())


@pytest.mark.parametrize("name", ["issuing", "fast_issuing"])
async def test_an_authorization_server_within_a_server_object_is_served(serve: Any, name: str) -> None:
    """From its metadata over a client's registration to a token, which opens a session."""
    door = serve(name)
    described = await (await send(door, "GET", "/.well-known/oauth-authorization-server")).json()
    assert described["token_endpoint"] == "https://mcp.example/token"
    registered = await register(door)
    token = await authorize(door, registered)
    ann = await client(door, f"/{name}", token).open()
    assert await ann.status() == 200
    told = await challenge(await client(door, f"/{name}", "x").post(initialize()), 401)
    assert f"{METADATA}/{name}" in told
    await door.close()


async def test_a_proxy_of_another_server_asks_for_each_client(serve: Any) -> None:
    """Confused deputy: the other server knows one client, and has asked the user about that one long ago.

    Without a page of the proxy's own, a client that an attacker has registered would get the user's code.
    """
    door = serve("proxied")
    registered = await register(door)
    asking = await send(door, "GET", f"/authorize?{urlencode(asked_by(registered))}")
    assert asking.status == 302
    page = urlsplit(asking.headers["location"])
    assert (page.netloc, page.path) == ("mcp.example", "/consent")
    consent = await send(door, "GET", f"{page.path}?{page.query}")
    text = (await consent.body()).decode()
    assert (
        consent.status == 200 and "app.example" in text and ISSUER not in consent.headers.get("location", "")
    )
    # Nor does it go on for who has not seen the page.
    form = urlencode(
        {"action": "approve", "txn_id": parse_qs(page.query)["txn_id"][0], "csrf_token": "a guess"}
    )
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    approved = await send(door, "POST", "/consent", form.encode(), **kind)
    assert approved.status in {400, 403} and "location" not in approved.headers
    await door.close()


async def test_custom_routes_are_served_and_everything_else_is_djangos(serve: Any) -> None:
    door = serve("routed", "fast_routed")
    assert await (await send(door, "GET", "/health")).json() == {"status": "well", "path": "/health"}
    assert await (await send(door, "POST", "/healthz/ann", b"{}")).json() == {"name": "ann"}
    assert await (await send(door, "GET", "/")).body() == b"Django"
    assert (await client(door, "/routed", None).open()).session_id
    await door.close()


async def test_its_routes_count_for_the_rate_limit_of_an_address(settings: Any, process: None) -> None:
    """Registrations and logins cost a server as much as calls do."""
    served = {"SERVER": "tests.guarded:routed", "RATE_LIMITS": {"address": "2/h"}}
    settings.MCP_SESSIONS = {"SERVERS": {"/routed": served}}
    door = open_door("mount")
    answers = [await send(door, "GET", "/health") for _ in range(3)]
    assert [each.status for each in answers] == [200, 200, 429]
    assert int(answers[2].headers["retry-after"]) > 0
    assert (await client(door, "/routed", None).post(initialize())).status == 429
    assert await (await send(door, "GET", "/")).body() == b"Django"
    await door.close()


async def test_two_servers_with_one_route_are_refused(serve: Any) -> None:
    door = serve("issuing", "fast_issuing")
    with pytest.raises(ConfigurationError, match="both have a route at /"):
        await send(door, "GET", "/")


async def send(door: Door, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
    return await door.send(method, target, list(headers.items()), body)


async def register(door: Door) -> dict[str, Any]:
    wanted = {"redirect_uris": [BACK], "token_endpoint_auth_method": "none"}
    body = json.dumps(wanted).encode()
    response = await send(door, "POST", "/register", body, **{"Content-Type": "application/json"})
    assert response.status == 201, await response.body()
    return dict(await response.json())


def asked_by(registered: dict[str, Any]) -> dict[str, str]:
    digest = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
    return {
        "client_id": registered["client_id"],
        "redirect_uri": BACK,
        "response_type": "code",
        "code_challenge": digest,
        "code_challenge_method": "S256",
        "state": "s",
    }


async def authorize(door: Door, registered: dict[str, Any]) -> str:
    """The authorization code flow with PKCE; the provider asks nobody."""
    redirect = await send(door, "GET", f"/authorize?{urlencode(asked_by(registered))}")
    assert redirect.status == 302, await redirect.body()
    code = parse_qs(urlsplit(redirect.headers["location"]).query)["code"][0]
    common = {"client_id": registered["client_id"], "redirect_uri": BACK}
    form = {**common, "grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await send(door, "POST", "/token", urlencode(form).encode(), **kind)
    assert response.status == 200, await response.body()
    return str((await response.json())["access_token"])
