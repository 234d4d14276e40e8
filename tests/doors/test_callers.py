"""Who is calling: Django's user, and what a session says of its owner; in tools, and in other views."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpResponse
from django.test import RequestFactory

from mcp_sessions import get_principal, load_session
from mcp_sessions.exceptions import MCPSessionsError
from mcp_sessions.identifiers import digest_of
from mcp_sessions.middleware import SessionMiddleware
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, call, text_of
from tests.doors.conftest import on_mount
from tests.doors.doors import Door
from tests.doors.test_modern import modern, post
from tests.doors.test_server_auth import bearer, client
from tests.guarded import notified
from tests.harness.issuer import running
from tests.process import eventually

pytestmark = [pytest.mark.django_db(transaction=True), on_mount]

AUTHENTICATION: Final = "mcp_sessions.security.authentication"
SERVED: Final = {
    "/users": {
        "SERVER": "tests.guarded:users",
        "AUTHENTICATORS": ["tests.guarded.UserNames"],
    },
    "/sdk": "tests.guarded:sdk",
    "/jwt": "tests.servers:server",
}


@pytest.fixture(autouse=True)
def served(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": SERVED}


@pytest.fixture
def door(served: None, door: Door) -> Door:
    return door


@pytest.fixture
def people(transactional_db: None) -> dict[str, User]:
    ann = User.objects.create_superuser("ann", password="x")
    return {"ann": ann, "ben": User.objects.create_user("ben", password="x")}


@pytest.mark.parametrize("tool", ["name", "name_in_thread"])
@pytest.mark.parametrize(("who", "told"), [("ann", "ann True"), ("ben", "ben False"), (None, "nobody False")])
async def test_tools_have_djangos_user(
    door: Door, people: dict[str, User], tool: str, who: str | None, told: str
) -> None:
    old = await client(door, "/users", who).open()
    assert await old.call(tool) == told
    response = await post(door, modern(call(tool)), path="/users", **bearer(who))
    assert text_of(await response.json()) == told


async def test_who_calls_is_not_what_a_request_says_in_its_parameters(
    door: Door, people: dict[str, User]
) -> None:
    """A user in the arguments or in _meta is a claim of a model's, and no credential."""
    asked = call("spoof", {"user": "ann"})
    asked["params"]["_meta"] = {"user": "ann", "authorization": "Bearer ann", "sub": "ann"}
    ben = await client(door, "/users", "ben").open()
    assert text_of(await ben.ask(asked)) == "ann is ben"
    response = await post(door, modern(asked), path="/users", **bearer("ben"))
    assert text_of(await response.json()) == "ann is ben"


async def test_handlers_of_notifications_know_who_sent_them(door: Door, people: dict[str, User]) -> None:
    notified.clear()
    ann = await client(door, "/users", "ann").open()
    await ann.notify("notifications/roots/list_changed")
    await eventually(lambda: notified)
    assert notified[0].startswith("ann token=")


async def test_a_session_says_whose_it_is_and_what_this_request_may_do(door: Door) -> None:
    """A token with fewer scopes than the session was opened with has fewer."""
    ann = await client(door, "/sdk", "ann-2").open()
    opened = json.loads(await ann.call("facts"))
    assert (opened["user_id"], opened["scopes"]) == ("ann", ["read", "write"])
    assert 0 <= opened["since"] < 3600
    ann.more_headers = bearer("ann-1")
    assert json.loads(await ann.call("facts"))["scopes"] == ["read"]
    session = await sync_to_async(load_session)(str(ann.session_id))
    assert (session.user_id, session.scopes) == ("ann", {"read", "write"})


async def test_what_is_kept_of_the_credential_opens_nothing(door: Door) -> None:
    ann = await client(door, "/sdk", "ann-1").open()
    kept = await get_store().aload(digest_of(str(ann.session_id)))
    assert kept is not None
    assert set(kept.metadata["authentication"]) == {
        *("by", "issuer", "client", "user_id", "scopes", "authenticated_at")
    }
    assert "ann-1" not in repr(kept)


async def test_outside_of_a_call_nobody_is_calling(door: Door) -> None:
    with pytest.raises(MCPSessionsError, match="There is no call"):
        get_principal()


# -- other views ----------------------------------------------------------------------------------


def view_of(session_id: Any, user: Any, **headers: str) -> Any:
    """The session as a synchronous view has it."""
    found: list[Any] = []

    def view(request: Any) -> HttpResponse:
        session = request.mcp_session
        found.append((session.user_id, session.scopes) if session else None)
        return HttpResponse()

    request = RequestFactory().get("/shop", headers={"X-Session-ID": str(session_id), **headers})
    if user is not None:
        request.user = user
    SessionMiddleware(view)(request)
    return found[0]


async def aview_of(session_id: Any, user: Any, **headers: str) -> Any:
    """The same in an asynchronous one."""
    found: list[Any] = []

    async def view(request: Any) -> HttpResponse:
        session = await request.amcp_session()
        found.append((session.user_id, session.scopes) if session else None)
        return HttpResponse()

    async def auser() -> Any:
        return user

    request = RequestFactory().get("/shop", headers={"X-Session-ID": str(session_id), **headers})
    request.auser = auser  # type: ignore[attr-defined]
    answer: Any = SessionMiddleware(view)(request)
    await answer
    return found[0]


async def both(session_id: Any, user: Any, **headers: str) -> Any:
    """What each kind of view has; they agree."""
    one = await sync_to_async(view_of)(session_id, user, **headers)
    assert await aview_of(session_id, user or AnonymousUser(), **headers) == one
    return one


async def opened(door: Door, who: str | None, path: str = "/users") -> McpClient:
    return await client(door, path, who).open()


async def test_a_view_has_the_session_of_the_user_who_has_logged_in(
    door: Door, people: dict[str, User]
) -> None:
    ann = await opened(door, "ann")
    found = (str(people["ann"].pk), None)
    assert await both(ann.session_id, people["ann"]) == found
    for stranger in (people["ben"], AnonymousUser(), None):
        assert await both(ann.session_id, stranger) is None


async def test_a_view_takes_a_token_that_the_sessions_endpoint_takes(
    door: Door, people: dict[str, User]
) -> None:
    ann = await opened(door, "ann-2", "/sdk")
    # As the request at hand has it.
    assert await both(ann.session_id, None, **bearer("ann-1")) == ("ann", {"read"})
    assert await both(ann.session_id, people["ben"], **bearer("ann-1")) == ("ann", {"read"})
    for other in ("ben-1", "nobody", "ann-old"):
        assert await both(ann.session_id, None, **bearer(other)) is None
    assert await both(ann.session_id, people["ann"]) is None


async def test_a_session_without_an_owner_is_opened_by_its_id_alone(
    door: Door, people: dict[str, User]
) -> None:
    nobody = await opened(door, None)
    for user in (people["ann"], None):
        assert await both(nobody.session_id, user) == (None, None)


async def test_a_view_takes_a_token_as_the_sessions_endpoint_takes_it(door: Door, settings: Any) -> None:
    """None that was issued for the view, and none that lacks what every request to the endpoint needs."""
    with running() as issuer:
        backend = {"BACKEND": f"{AUTHENTICATION}.JSONWebTokens", "OPTIONS": {"issuer": issuer.url}}
        served = {"SERVER": "tests.servers:server", "AUTHENTICATORS": [backend], "REQUIRED_SCOPES": ["read"]}
        changed = {**settings.MCP_SESSIONS, "SERVERS": {**SERVED, "/jwt": served}}
        await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", changed)

        def bearing(path: str, scope: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {issuer.token(aud=f'http://testserver{path}', scope=scope)}"}

        ann = await McpClient(door, path="/jwt", more_headers=bearing("/jwt", "read")).open()
        assert await both(ann.session_id, None, **bearing("/jwt", "read write")) == ("ann", {"read", "write"})
        for other in (bearing("/shop", "read"), bearing("/jwt", "write")):
            assert await both(ann.session_id, None, **other) is None
