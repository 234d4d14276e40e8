"""Authentication at the doors: who is let in, what the others are told, and whose sessions are whose."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.doors.client import JSON_POST, McpClient, initialize, request
from tests.doors.conftest import on_mount
from tests.doors.doors import Door, Response
from tests.process import only_session, rows
from tests.settings import TOKENS

METADATA = "http://testserver/.well-known/oauth-protected-resource/tokens"


def client_of(door: Door, token: str | None) -> McpClient:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return McpClient(door, path="/tokens", more_headers=headers)


async def refused(response: Response, status: int, reason: str) -> str:
    """The challenge of a response that denies access."""
    body = await response.json()
    assert (response.status, body["error"]["data"]["reason"]) == (status, reason), body
    return response.headers["www-authenticate"]


async def test_a_request_without_a_credential_is_told_where_to_get_one(door: Door) -> None:
    response = await client_of(door, None).post(initialize())
    challenge = await refused(response, 401, "not_authenticated")
    assert challenge == f'Bearer scope="read", resource_metadata="{METADATA}"'
    assert (await rows())["Session"] == 0


@pytest.mark.parametrize("given", ["Bearer nobody", "bearer nobody", "Basic YTpi"])
async def test_a_credential_that_nobody_knows_is_invalid(door: Door, given: str) -> None:
    response = await client_of(door, None).post(initialize(), {"Authorization": given})
    challenge = await refused(response, 401, "not_authenticated")
    assert challenge.startswith('Bearer error="invalid_token"') and METADATA in challenge
    assert (await rows())["Session"] == 0


async def test_the_owner_of_a_session_uses_it_and_everybody_else_finds_it_unknown(door: Door) -> None:
    ann, ben = client_of(door, TOKENS["ann"]), client_of(door, TOKENS["ben"])
    await ann.open()
    assert await ann.status() == 200
    ben.session_id = ann.session_id
    known = await ben.post(request("ping"))
    ben.session_id = "a" * len(str(ann.session_id))
    unknown = await ben.post(request("ping"))
    assert known.status == unknown.status == 404
    assert await known.body() == await unknown.body()
    ben.session_id = ann.session_id
    assert (await ben.delete()).status == 404
    assert await ann.status() == 200


async def test_a_session_alone_opens_nothing(door: Door) -> None:
    ann = await client_of(door, TOKENS["ann"]).open()
    ann.more_headers = {}
    await refused(await ann.post(request("ping")), 401, "not_authenticated")
    await refused(await ann.delete(), 401, "not_authenticated")


async def test_nothing_else_of_a_request_is_read_before(door: Door) -> None:
    """Whoever has no credential learns nothing about what would be wrong with the request."""
    response = await client_of(door, None).send("POST", b"{", JSON_POST)
    await refused(response, 401, "not_authenticated")


@on_mount
async def test_each_refusal_is_in_the_security_log(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    """With who asked, and never the credential or the id that they sent."""
    caplog.set_level(logging.INFO, "mcp_sessions.sessions")
    ann, ben = client_of(door, TOKENS["ann"]), client_of(door, TOKENS["ben"])
    await ann.open()
    ben.session_id = ann.session_id
    await ben.post(request("ping"))
    await client_of(door, None).post(initialize())
    await client_of(door, "nobody-0123456789").post(initialize())
    await ann.post(request("ping"), {"Origin": "https://evil.example"})
    found: list[Any] = [each for each in caplog.records if getattr(each, "mcp_event", "") == "refused"]
    key = (await only_session()).key
    assert [(each.mcp_reason, each.mcp_owner, each.mcp_session) for each in found] == [
        ("owner", '["settings","ben",""]', key),
        ("not_authenticated", "-", "-"),
        ("invalid_token", "-", "-"),
        ("origin", "-", "-"),
    ]
    assert {(each.mcp_server, each.mcp_address) for each in found} == {("/tokens", "192.0.2.1")}
    secrets = [*TOKENS.values(), "nobody-0123456789", str(ann.session_id)]
    assert not [each for each in secrets if each in caplog.text]


# -- where anonymous clients may come, too ----------------------------------------------------


def serve_tokens(settings: Any, **options: Any) -> None:
    """Change /tokens."""
    servers = settings.MCP_SESSIONS["SERVERS"]
    tokens = {**servers["/tokens"], "REQUIRED_SCOPES": [], **options}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": {**servers, "/tokens": tokens}}


def and_anonymous(settings: Any) -> list[Any]:
    static = settings.MCP_SESSIONS["SERVERS"]["/tokens"]["AUTHENTICATORS"]
    return [*static, "mcp_sessions.security.authentication.AllowAnonymous"]


async def test_a_token_that_nobody_recognises_makes_no_anonymous_request(door: Door, settings: Any) -> None:
    """A client whose token has run out has to learn it; it would open an anonymous session instead."""
    await asyncio.to_thread(serve_tokens, settings, AUTHENTICATORS=and_anonymous(settings))
    response = await client_of(door, "nobody-0123456789").post(initialize())
    assert 'error="invalid_token"' in await refused(response, 401, "not_authenticated")
    assert (await rows())["Session"] == 0
    await client_of(door, None).open()
    await client_of(door, TOKENS["ann"]).open()


@pytest.mark.parametrize("others", [True, False], ids=["tokens too", "nothing authenticates"])
async def test_scopes_that_every_request_needs_keep_anonymous_ones_out(
    door: Door, settings: Any, others: bool
) -> None:
    """What has no scopes of its own passes, as a login does: but not who shows no credential at all."""
    chosen = and_anonymous(settings) if others else []
    options = {"AUTHENTICATORS": chosen, "REQUIRED_SCOPES": ["read"]}
    await asyncio.to_thread(lambda: serve_tokens(settings, **options))
    response = await client_of(door, None).post(initialize())
    assert 'scope="read"' in await refused(response, 401, "not_authenticated")
    assert await client_of(door, TOKENS["ann"]).status(initialize()) == (200 if others else 401)
