"""JSON Web Tokens: what is accepted, what is not, and what a principal has of them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from joserfc.jwk import OKPKey, RSAKey

from mcp_sessions.exceptions import ConfigurationError, InvalidCredential
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication import JSONWebTokens, authenticate
from mcp_sessions.security.authentication import bearer as bearer_module
from tests.authentication.conftest import RESOURCE, exchange
from tests.harness.issuer import Issuer, new_key


async def accepted(issuer: Issuer, token: str, **options: Any) -> Principal | None:
    return await JSONWebTokens("/mcp", issuer.url, **options).authenticate(exchange(token))


async def refused(issuer: Issuer, token: str, **options: Any) -> str:
    with pytest.raises(InvalidCredential) as raised:
        await accepted(issuer, token, **options)
    return str(raised.value)


async def test_a_principal_is_what_the_token_says(issuer: Issuer) -> None:
    expires = int(time.time()) + 600
    token = issuer.token(aud=RESOURCE, scope="read write", exp=expires, plan="gold")
    principal = await accepted(issuer, token, leeway=30)
    assert principal is not None
    assert principal.issuer == issuer.url
    assert (principal.subject, principal.client_id) == ("ann", "desktop")
    assert principal.scopes == {"read", "write"}
    assert principal.expires_at == datetime.fromtimestamp(expires + 30, UTC)
    assert (principal.claims["plan"], principal.token) == ("gold", token)


@pytest.mark.parametrize(
    ("claims", "scopes", "client"),
    [
        ({"scp": ["read", "write"]}, {"read", "write"}, "desktop"),
        ({"scp": "read"}, {"read"}, "desktop"),
        ({"client_id": None, "azp": "web"}, set(), "web"),
        ({"client_id": None}, set(), ""),
        ({"sub": None}, set(), "desktop"),
    ],
)
async def test_what_servers_call_by_other_names(
    issuer: Issuer, claims: dict[str, Any], scopes: set[str], client: str
) -> None:
    principal = await accepted(issuer, issuer.token(aud=["https://other.example", RESOURCE], **claims))
    assert principal is not None
    assert (principal.scopes, principal.client_id) == (scopes, client)


async def test_a_scope_may_include_others(issuer: Issuer) -> None:
    implied = {"admin": ["write"], "write": ["read"], "read": ["read"]}
    principal = await accepted(issuer, issuer.token(aud=RESOURCE, scope="admin"), implied_scopes=implied)
    assert principal is not None and principal.scopes == {"admin", "write", "read"}


# Audience


@pytest.mark.parametrize(
    "audience",
    [
        None,
        "",
        [],
        "https://api.example",
        f"{RESOURCE}/more",
        "https://evil.example/shop",
        ["x"],
        {"a": 1},
        7,
    ],
)
async def test_a_token_for_somebody_else_is_not_accepted(issuer: Issuer, audience: Any) -> None:
    said = await refused(issuer, issuer.token(aud=audience))
    assert said in {"The token was not issued for this endpoint.", "The token is not valid."}


async def test_a_final_slash_is_no_other_audience(issuer: Issuer) -> None:
    assert await accepted(issuer, issuer.token(aud=f"{RESOURCE}/"))


async def test_an_audience_of_the_settings_is_in_place_of_the_url(issuer: Issuer) -> None:
    assert await accepted(issuer, issuer.token(aud="api://shop"), audience="api://shop")
    await refused(issuer, issuer.token(aud=RESOURCE), audience="api://shop")


async def test_the_audience_is_checked_for_cached_tokens_too(issuer: Issuer, settings: Any) -> None:
    """Without RESOURCE_URL it is the URL of each request."""
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "RESOURCE_URL": None}
    authenticator = JSONWebTokens("/mcp", issuer.url)
    token = issuer.token(aud="http://testserver/mcp")
    assert await authenticator.authenticate(exchange(token))
    with pytest.raises(InvalidCredential):
        await authenticator.authenticate(exchange(token, scheme="https"))


# Signature


async def test_a_signature_of_another_key_is_none(issuer: Issuer) -> None:
    await refused(issuer, issuer.token(new_key("first"), aud=RESOURCE))


async def test_a_changed_claim_is_noticed(issuer: Issuer) -> None:
    header, payload, signature = issuer.token(aud=RESOURCE).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    await refused(issuer, f"{header}.{encoded({**claims, 'sub': 'root'})}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "HS512", "nonsense", 7, None])
async def test_the_algorithm_is_not_the_clients_to_choose(issuer: Issuer, algorithm: Any) -> None:
    """An attacker signs with what is published: nothing, or the public key as a shared secret."""
    claims = {"iss": issuer.url, "sub": "ann", "aud": RESOURCE, "exp": time.time() + 60}
    signed = f"{encoded({'alg': algorithm, 'kid': 'first'})}.{encoded(claims)}"
    secret = issuer.keys[0].as_pem(private=False)
    digest = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
    for signature in ("", base64.urlsafe_b64encode(digest).rstrip(b"=").decode()):
        await refused(issuer, f"{signed}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_nor_can_the_settings_choose_one_without_public_keys(issuer: Issuer, algorithm: str) -> None:
    with pytest.raises(ConfigurationError, match=algorithm):
        JSONWebTokens("/mcp", issuer.url, algorithms=["ES256", algorithm])


async def test_an_algorithm_that_the_settings_leave_out(issuer: Issuer) -> None:
    await refused(issuer, issuer.token(aud=RESOURCE), algorithms=["RS256"])


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "Ed25519"])
async def test_other_kinds_of_keys(issuer: Issuer, algorithm: str) -> None:
    if algorithm == "Ed25519":
        key: Any = OKPKey.generate_key("Ed25519", parameters={"kid": "other"})
    else:
        key = RSAKey.generate_key(2048, parameters={"kid": "other", "alg": algorithm})
    issuer.keys.append(key)
    assert await accepted(issuer, issuer.token(key, {"alg": algorithm}, aud=RESOURCE))


# Times, issuer, kind


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"nbf": time.time() + 3600},
        {"iat": time.time() + 3600},
        {"sub": None, "client_id": None},
        {"sub": 7, "client_id": ["a"]},
    ],
)
async def test_what_is_not_valid_now_or_names_nobody(issuer: Issuer, claims: dict[str, Any]) -> None:
    await refused(issuer, issuer.token(aud=RESOURCE, **claims))


async def test_clocks_may_be_apart_for_the_leeway(issuer: Issuer) -> None:
    now = time.time()
    token = issuer.token(aud=RESOURCE, exp=now - 20, nbf=now + 20)
    assert await accepted(issuer, token, leeway=600)
    await refused(issuer, token, leeway=5)


async def test_a_token_that_never_expires_in_any_year_that_has_a_date(issuer: Issuer) -> None:
    principal = await accepted(issuer, issuer.token(aud=RESOURCE, exp=10**30))
    assert principal is not None and principal.expires_at is not None
    assert principal.expires_at.year == 9999


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", 7])
async def test_other_kinds_of_tokens_are_no_access_tokens(issuer: Issuer, kind: Any) -> None:
    if isinstance(kind, int):
        _, payload, signature = issuer.token(aud=RESOURCE).split(".")
        token = f"{encoded({'alg': 'ES256', 'typ': kind})}.{payload}.{signature}"
        await refused(issuer, token)
    else:
        await refused(issuer, issuer.token(header={"typ": kind}, aud=RESOURCE))


@pytest.mark.parametrize("kind", ["JWT", "application/at+jwt", "AT+JWT", None])
async def test_names_of_access_tokens(issuer: Issuer, kind: Any) -> None:
    assert await accepted(issuer, issuer.token(header={"typ": kind}, aud=RESOURCE))


@pytest.mark.parametrize(
    "token",
    ["opaque", "a.b", "a.b.c", "a.b.c.d.e", "é", "..", "." * 50_000, "W10.W10.W10", "e" * 9000 + ".e30.x"],
)
async def test_what_is_no_token_of_the_issuer_is_left_to_the_next_authenticator(
    issuer: Issuer, token: str
) -> None:
    assert await accepted(issuer, token) is None
    assert issuer.requests.total() == 0


async def test_deeply_nested_claims_are_no_token(issuer: Issuer) -> None:
    nested = base64.urlsafe_b64encode(b"[" * 100_000).decode().rstrip("=")
    assert await accepted(issuer, f"{encoded({'alg': 'ES256'})}.{nested}.x") is None


async def test_each_issuer_has_an_authenticator(issuer: Issuer) -> None:
    known, other = JSONWebTokens("/mcp", issuer.url), JSONWebTokens("/mcp", "https://other.example")
    principal, decided = await authenticate(exchange(issuer.token(aud=RESOURCE)), [other, known])
    assert (principal.issuer, decided) == (issuer.url, known)


# The cache


async def test_a_token_is_verified_once(issuer: Issuer) -> None:
    authenticator = JSONWebTokens("/mcp", issuer.url)
    token = issuer.token(aud=RESOURCE)
    first = await authenticator.authenticate(exchange(token))
    # Without keys nothing could be verified again.
    issuer.keys.clear()
    assert await authenticator.authenticate(exchange(token)) is first
    with pytest.raises(InvalidCredential):
        await authenticator.authenticate(exchange(token + "x"))


async def test_it_is_kept_until_it_expires(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    authenticator = JSONWebTokens("/mcp", issuer.url, leeway=0)
    expires = time.time() + 100
    token = issuer.token(aud=RESOURCE, exp=expires)
    principal = await authenticator.authenticate(exchange(token))
    assert principal is not None and await authenticator.is_current(principal)
    monkeypatch.setattr(time, "time", lambda: expires + 1)
    with pytest.raises(InvalidCredential, match="expired"):
        await authenticator.authenticate(exchange(token))
    assert not await authenticator.is_current(principal)


async def test_so_many_are_kept(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bearer_module, "MAX_CACHED", 2)
    authenticator = JSONWebTokens("/mcp", issuer.url)
    tokens = [issuer.token(aud=RESOURCE, jti=name) for name in ("first", "second", "third")]
    first, second = [await authenticator.authenticate(exchange(token)) for token in tokens[:2]]
    assert await authenticator.authenticate(exchange(tokens[0])) is first
    await authenticator.authenticate(exchange(tokens[2]))
    assert await authenticator.authenticate(exchange(tokens[0])) is first
    assert await authenticator.authenticate(exchange(tokens[1])) is not second


# The Django user


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann", "ann@example.com")


def named(claims: Any) -> User | None:
    return User.objects.filter(username=claims["preferred_username"]).first()


async def anamed(claims: Any) -> User | None:
    return await User.objects.filter(username=claims["preferred_username"]).afirst()


@pytest.mark.parametrize(
    "options",
    [
        {"user": "username"},
        {"user": "email", "user_claim": "email"},
        {"user": "tests.authentication.test_jwt.named"},
        {"user": named},
        {"user": anamed},
    ],
)
async def test_the_user_of_a_token(issuer: Issuer, ann: User, options: dict[str, Any]) -> None:
    authenticator = JSONWebTokens("/mcp", issuer.url, **options)
    token = issuer.token(aud=RESOURCE, email="ann@example.com", preferred_username="ann")
    principal = await authenticator.authenticate(exchange(token))
    assert principal is not None
    assert (principal.user, principal.owner) == (ann, f"user:{ann.pk}")
    # The token is in the cache by now; that the user was deactivated counts all the same.
    await User.objects.filter(pk=ann.pk).aupdate(is_active=False)
    with pytest.raises(InvalidCredential):
        await authenticator.authenticate(exchange(token))
    assert not await authenticator.is_current(principal)


@pytest.mark.parametrize(
    "claims", [{}, {"email": ""}, {"email": 7}, {"email": "ann@example.com", "email_verified": False}]
)
async def test_a_token_that_is_for_no_user_is_refused(issuer: Issuer, ann: User, claims: Any) -> None:
    token = issuer.token(aud=RESOURCE, **claims)
    assert "unknown here" in await refused(issuer, token, user="email", user_claim="email")


async def test_two_users_who_could_be_meant_are_nobody(issuer: Issuer, ann: User) -> None:
    await User.objects.acreate(username="other", email=ann.email)
    await refused(issuer, issuer.token(aud=RESOURCE, email=ann.email), user="email", user_claim="email")


def test_a_field_that_users_do_not_have(issuer: Issuer) -> None:
    with pytest.raises(ConfigurationError, match="nickname"):
        JSONWebTokens("/mcp", issuer.url, user="nickname")


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
