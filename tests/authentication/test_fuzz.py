"""Whatever is sent as a credential, the answer is a principal, another authenticator's turn, or a refusal."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.exceptions import AccessDenied, AuthenticationUnavailable
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication import JSONWebTokens, TokenIntrospection, authenticate
from tests.authentication.conftest import RESOURCE, exchange
from tests.harness.issuer import Issuer, running

ISSUER = "https://login.example"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CLAIMS = st.sampled_from(["aud", "exp", "nbf", "iat", "sub", "client_id", "azp", "scope", "scp", "jti", "x"])


def outcome(authenticator: Any, request: Exchange) -> Principal | None:
    """The principal, or None if the request is refused in one of the ways that there are."""

    async def ask() -> Principal | None:
        try:
            principal, _ = await authenticate(request, [authenticator])
            return principal
        except (AccessDenied, AuthenticationUnavailable):
            return None

    return asyncio.run(ask())


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_authorization_header(text: str) -> None:
    authenticator = JSONWebTokens("/mcp", ISSUER)
    for header in (text, f"Bearer {text}", f"bearer\t{text}"):
        request = Exchange("POST", "/mcp", "/mcp", {"authorization": header, "host": "testserver"}, text)
        assert outcome(authenticator, request) is None


@given(JSON, st.dictionaries(CLAIMS, JSON), st.text(max_size=10))
def test_any_unsigned_token(header: Any, claims: dict[str, Any], signature: str) -> None:
    authenticator = JSONWebTokens("/mcp", ISSUER, jwks_uri="https://127.0.0.1:1/")
    token = f"{encoded(header)}.{encoded({'iss': ISSUER, 'aud': RESOURCE, **claims})}.{signature}"
    assert outcome(authenticator, exchange(token)) is None


@pytest.fixture(scope="module")
def online() -> Iterator[Issuer]:
    with running() as own:
        yield own


@given(claims=st.dictionaries(CLAIMS, JSON, min_size=1, max_size=4))
def test_any_claims_of_the_issuer(online: Issuer, claims: dict[str, Any]) -> None:
    """Signed or introspected: a principal is somebody, and the token is for the endpoint."""
    own: dict[str, Any] = {"aud": RESOURCE, "sub": "ann", "exp": time.time() + 60, **claims}
    for principal in (by_signature(online, own), by_introspection(online, own)):
        if principal is not None:
            assert not principal.is_anonymous
            assert own["aud"] == RESOURCE
            assert all(isinstance(scope, str) for scope in principal.scopes or ())


def by_signature(issuer: Issuer, claims: dict[str, Any]) -> Principal | None:
    return outcome(JSONWebTokens("/mcp", issuer.url), exchange(issuer.token(**claims)))


def by_introspection(issuer: Issuer, claims: dict[str, Any]) -> Principal | None:
    issuer.pages["/introspect"] = {"active": True, **claims}
    about = {"client_id": "shop", "client_secret": "secret", "issuer": issuer.url}
    return outcome(TokenIntrospection("/mcp", f"{issuer.url}/introspect", **about), exchange("token"))


def encoded(part: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
