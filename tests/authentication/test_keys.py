"""The keys of an issuer: when they are fetched, and what happens while that fails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_sessions.exceptions import AuthenticationUnavailable
from mcp_sessions.security.authentication import JSONWebTokens
from mcp_sessions.security.authentication.fetching import FetchFailed
from mcp_sessions.security.authentication.keys import COOLDOWN, LIFETIME, MAX_STALE, RETRY_SECONDS, IssuerKeys
from tests.authentication.conftest import RESOURCE, exchange
from tests.harness.issuer import Issuer, new_key
from tests.process import eager

METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"


class Clock:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: Issuer, clock: Clock) -> IssuerKeys:
    return IssuerKeys(issuer.url, None, clock=clock)


async def test_they_are_found_by_the_issuers_metadata_and_kept(issuer: Issuer, keys: IssuerKeys) -> None:
    assert (await keys.find("first")).kid == "first"
    assert (await keys.find("first")).kid == "first"
    assert issuer.requests == {METADATA: 1, "/keys": 1}


async def test_a_fetch_that_is_over_at_once_is_not_the_last(
    issuer: Issuer, keys: IssuerKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a loop with eager tasks, for instance."""
    fetched: list[str] = []

    async def fail(url: str) -> Any:
        fetched.append(url)
        raise FetchFailed("it cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(keys._fetcher, "get", fail)
        asyncio.get_running_loop().set_task_factory(eager)
        with pytest.raises(AuthenticationUnavailable):
            await keys.find("first")
        asyncio.get_running_loop().set_task_factory(None)
    assert fetched
    clock.seconds += RETRY_SECONDS
    assert (await keys.find("first")).kid == "first"


async def test_openid_has_the_metadata_elsewhere(issuer: Issuer, clock: Clock) -> None:
    named = f"{issuer.url}/realms/shop"
    issuer.pages[f"/realms/shop{OPENID}"] = {"issuer": named, "jwks_uri": issuer.jwks_uri}
    assert (await IssuerKeys(named, None, clock=clock).find("first")).kid == "first"
    assert issuer.requests == {f"{METADATA}/realms/shop": 1, f"/realms/shop{OPENID}": 1, "/keys": 1}


async def test_the_settings_may_name_them(issuer: Issuer, clock: Clock) -> None:
    keys = IssuerKeys("https://login.example", issuer.jwks_uri, clock=clock)
    assert (await keys.find("first")).kid == "first"


async def test_metadata_of_another_issuer_is_none(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.pages[METADATA] = {"issuer": "https://evil.example", "jwks_uri": issuer.jwks_uri}
    with pytest.raises(AuthenticationUnavailable):
        await keys.find("first")
    assert issuer.requests["/keys"] == 0


async def test_many_who_need_them_at_once_share_one_fetch(issuer: Issuer, keys: IssuerKeys) -> None:
    await asyncio.gather(*(keys.find("first") for _ in range(20)))
    assert issuer.requests["/keys"] == 1


async def test_a_request_that_is_given_up_takes_nothing_from_the_others(
    issuer: Issuer, keys: IssuerKeys
) -> None:
    first = asyncio.create_task(keys.find("first"))
    await asyncio.sleep(0)
    second = asyncio.create_task(keys.find("first"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).kid == "first"
    assert issuer.requests["/keys"] == 1


async def test_an_unknown_key_is_looked_for_once_and_then_after_a_while(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    await keys.find("first")
    issuer.keys.append(new_key("second"))
    assert await keys.find("second") is None
    clock.seconds += COOLDOWN
    assert (await keys.find("second")).kid == "second"
    for number in range(50):
        assert await keys.find(f"made up {number}") is None
    assert issuer.requests["/keys"] == 2


async def test_a_key_that_was_withdrawn_is_gone_after_their_lifetime(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    await keys.find("first")
    issuer.keys[:] = [new_key("second")]
    clock.seconds += LIFETIME
    assert await keys.find("first") is None


async def test_while_they_cannot_be_fetched_the_old_ones_stay(
    issuer: Issuer, keys: IssuerKeys, clock: Clock
) -> None:
    await keys.find("first")
    issuer.is_away = True
    clock.seconds += LIFETIME
    assert (await keys.find("first")).kid == "first"
    assert issuer.requests[METADATA] == 2
    # Nobody knows whether there is another one by now: that is no invalid token.
    with pytest.raises(AuthenticationUnavailable):
        await keys.find("second")
    assert issuer.requests[METADATA] == 2
    clock.seconds = MAX_STALE
    with pytest.raises(AuthenticationUnavailable):
        await keys.find("first")
    issuer.is_away = False
    clock.seconds += RETRY_SECONDS
    assert (await keys.find("first")).kid == "first"


async def test_without_any_keys_nobody_knows(issuer: Issuer, keys: IssuerKeys, clock: Clock) -> None:
    issuer.is_away = True
    for _ in range(3):
        with pytest.raises(AuthenticationUnavailable):
            await keys.find("first")
    # Each attempt looks at both places of the metadata; a moment later nobody tries again.
    assert issuer.requests == {METADATA: 1, OPENID: 1}
    issuer.is_away = False
    clock.seconds += RETRY_SECONDS
    assert (await keys.find("first")).kid == "first"


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"keys": 7},
        {"keys": [7]},
        {"keys": [{"kty": "EC", "crv": "P-999", "x": "a", "y": "b"}]},
        b"[]",
        b"{",
    ],
)
async def test_what_is_no_set_of_keys(issuer: Issuer, keys: IssuerKeys, document: Any) -> None:
    issuer.pages["/keys"] = document
    if isinstance(document, bytes):
        with pytest.raises(AuthenticationUnavailable):
            await keys.find("first")
    else:
        assert await keys.find("first") is None


async def test_keys_that_cannot_be_used_are_passed_over(issuer: Issuer, keys: IssuerKeys) -> None:
    """A shared secret that is published is no secret; a key for encryption verifies nothing."""
    issuer.keys.append(new_key("encrypting", use="enc"))
    usable = issuer.key_set()["keys"]
    secret = {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMw", "kid": "secret"}
    issuer.pages["/keys"] = {"keys": [secret, {"kty": "AKP", "kid": "new"}, {"kty": "RSA"}, *usable]}
    assert (await keys.find("first")).kid == "first"
    for kid in ("secret", "encrypting", "new"):
        assert await keys.find(kid) is None


async def test_the_only_key_needs_no_name(issuer: Issuer) -> None:
    issuer.keys[:] = [new_key(None)]
    assert await JSONWebTokens("/mcp", issuer.url).authenticate(exchange(issuer.token(aud=RESOURCE)))


async def test_of_several_a_token_names_its_own(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.keys.append(new_key("second"))
    assert await keys.find(None) is None
