"""Tokens that their authorization server is asked about."""

from __future__ import annotations

import time
from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs

import pytest

from mcp_sessions.exceptions import AuthenticationUnavailable, InvalidCredential
from mcp_sessions.security.authentication import TokenIntrospection, introspection
from tests.authentication.conftest import RESOURCE, exchange
from tests.harness.issuer import Issuer


@pytest.fixture
def said(issuer: Issuer) -> dict[str, Any]:
    """What the server says about the token "secret"; it must be asked as it wants to be."""
    about = {
        "active": True,
        "aud": RESOURCE,
        "sub": "ann",
        "client_id": "desktop",
        "scope": "read write",
        "exp": int(time.time()) + 600,
    }
    credentials = b64encode(b"shop:a+secret%3A").decode()

    def introspect(form: bytes, authorization: str) -> Any:
        if authorization != f"Basic {credentials}":
            return 401, {}
        asked = parse_qs(form.decode())
        assert asked["token_type_hint"] == ["access_token"]
        return about if asked["token"] == ["secret"] else {"active": False}

    issuer.pages["/introspect"] = introspect
    return about


def asking(issuer: Issuer, **options: Any) -> TokenIntrospection:
    given = {"client_id": "shop", "client_secret": "a secret:", "issuer": issuer.url, **options}
    return TokenIntrospection("/mcp", f"{issuer.url}/introspect", **given)


async def test_the_principal_is_what_the_server_says(issuer: Issuer, said: dict[str, Any]) -> None:
    principal = await asking(issuer).authenticate(exchange("secret"))
    assert principal is not None and principal.expires_at is not None
    assert (principal.issuer, principal.subject, principal.client_id) == (issuer.url, "ann", "desktop")
    assert principal.scopes == {"read", "write"}
    assert principal.expires_at.timestamp() == said["exp"]
    assert principal.claims["active"] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"active": False},
        {"active": "true"},
        {"active": None},
        {"aud": None},
        {"aud": "https://other.example"},
        {"exp": 1},
        {"exp": "soon"},
        {"iss": "https://other.example"},
        {"sub": None, "client_id": None},
    ],
)
async def test_what_is_refused(issuer: Issuer, said: dict[str, Any], changes: dict[str, Any]) -> None:
    said.update(changes)
    with pytest.raises(InvalidCredential):
        await asking(issuer).authenticate(exchange("secret"))


async def test_an_unknown_token_is_refused(issuer: Issuer, said: dict[str, Any]) -> None:
    with pytest.raises(InvalidCredential):
        await asking(issuer).authenticate(exchange("unknown"))


async def test_a_request_without_a_token_is_nothing_to_ask_about(issuer: Issuer) -> None:
    assert await asking(issuer).authenticate(exchange(None)) is None
    assert issuer.requests.total() == 0


async def test_a_server_without_an_answer_is_not_the_tokens_fault(
    issuer: Issuer, said: dict[str, Any]
) -> None:
    for authenticator in (asking(issuer, client_secret="wrong"), asking(issuer)):
        issuer.is_away = authenticator is not None and "/introspect" in issuer.requests
        with pytest.raises(AuthenticationUnavailable):
            await authenticator.authenticate(exchange("secret"))


async def test_what_was_said_counts_for_a_while(
    issuer: Issuer, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = asking(issuer, cache_seconds=10)
    principal = await authenticator.authenticate(exchange("secret"))
    assert principal is not None
    said["active"] = False
    assert await authenticator.authenticate(exchange("secret"))
    assert issuer.requests["/introspect"] == 1
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 11)
    with pytest.raises(InvalidCredential):
        await authenticator.authenticate(exchange("secret"))
    assert not await authenticator.is_current(principal)
    # Whether it is still valid, nobody knows who has not asked before.
    issuer.is_away = True
    assert await asking(issuer).is_current(principal)


async def test_an_invalid_token_is_asked_about_once_in_a_while(
    issuer: Issuer, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = asking(issuer)

    async def is_refused(token: str) -> bool:
        try:
            await authenticator.authenticate(exchange(token))
        except InvalidCredential:
            return True
        return False

    assert [await is_refused("unknown") for _ in range(5)] == [True] * 5
    assert issuer.requests["/introspect"] == 1
    # Of another one that says nothing; and later the server may know more.
    assert not await is_refused("secret")
    monkeypatch.setattr(introspection.time, "monotonic", lambda: time.time() + 10**9)
    assert await is_refused("unknown")
    assert issuer.requests["/introspect"] == 3


async def test_few_invalid_tokens_are_remembered(
    issuer: Issuer, said: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspection, "MAX_REFUSED", 3)
    authenticator = asking(issuer)
    for number in (*range(5), 4, 0):
        with pytest.raises(InvalidCredential):
            await authenticator.authenticate(exchange(f"unknown-{number}"))
    assert issuer.requests["/introspect"] == 6


async def test_a_server_that_is_away_is_asked_again(issuer: Issuer, said: dict[str, Any]) -> None:
    authenticator = asking(issuer)
    issuer.is_away = True
    with pytest.raises(AuthenticationUnavailable):
        await authenticator.authenticate(exchange("secret"))
    issuer.is_away = False
    assert await authenticator.authenticate(exchange("secret")) is not None
