"""Tokens of django-oauth-toolkit and of django-allauth, in the project's own tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from unittest import mock

import pytest
from allauth.idp.oidc.models import Client
from allauth.idp.oidc.models import Token as AllauthToken
from django.contrib.auth.models import User
from django.db import OperationalError
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application

from mcp_sessions.exceptions import AuthenticationUnavailable, InvalidCredential
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication import AllauthTokens, OAuthToolkitTokens
from mcp_sessions.security.authentication.stored import StoredTokens
from tests.authentication.conftest import RESOURCE, exchange

pytestmark = pytest.mark.django_db(transaction=True)


class Provider(Protocol):
    authenticator: StoredTokens

    async def issue(
        self, user: User | None, expires_at: datetime | None, scopes: Iterable[str], resources: list[str]
    ) -> str: ...

    async def revoke(self) -> None: ...


class Toolkit:
    def __init__(self) -> None:
        self.authenticator = OAuthToolkitTokens("/mcp", implied_scopes={"write": ["read"]})

    async def issue(
        self, user: User | None, expires_at: datetime | None, scopes: Iterable[str], resources: list[str]
    ) -> str:
        application, _ = await Application.objects.aget_or_create(
            client_id="desktop",
            client_type=Application.CLIENT_PUBLIC,
            authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        )
        await AccessToken.objects.acreate(
            user=user,
            application=application,
            token="secret",
            expires=expires_at,
            scope=" ".join(scopes),
            resource=resources,
        )
        return "secret"

    async def revoke(self) -> None:
        await AccessToken.objects.all().adelete()


class Allauth:
    def __init__(self) -> None:
        self.authenticator = AllauthTokens("/mcp", implied_scopes={"write": ["read"]})

    async def issue(
        self, user: User | None, expires_at: datetime | None, scopes: Iterable[str], resources: list[str]
    ) -> str:
        client, _ = await Client.objects.aget_or_create(id="desktop", name="Desktop")
        for kind, value in (
            (AllauthToken.Type.ACCESS_TOKEN, "secret"),
            (AllauthToken.Type.REFRESH_TOKEN, "more"),
        ):
            row = AllauthToken(type=kind, client=client, user=user, expires_at=expires_at)
            row.set_value(value)
            row.set_scopes(list(scopes))
            row.set_resources(resources)
            await row.asave()
        return "secret"

    async def revoke(self) -> None:
        await AllauthToken.objects.all().adelete()


@pytest.fixture(params=[Toolkit, Allauth])
def provider(request: pytest.FixtureRequest, transactional_db: None) -> Provider:
    made: Provider = request.param()
    return made


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann")


@dataclass
class Ask:
    provider: Provider
    user: User | None

    async def issued(self, **changes: Any) -> Principal | None:
        given = {
            "user": self.user,
            "expires_at": timezone.now() + timedelta(hours=1),
            "scopes": ["write"],
            "resources": [f"{RESOURCE}/"],
            **changes,
        }
        return await self.of(await self.provider.issue(**given))

    async def of(self, token: str) -> Principal | None:
        return await self.provider.authenticator.authenticate(exchange(token))


@pytest.fixture
def ask(provider: Provider, ann: User) -> Ask:
    return Ask(provider, ann)


async def test_the_principal_of_a_token(ask: Ask, ann: User) -> None:
    expires = timezone.now() + timedelta(minutes=5)
    principal = await ask.issued(expires_at=expires)
    assert principal is not None
    assert (principal.user, principal.owner) == (ann, f"user:{ann.pk}")
    assert (principal.client_id, principal.scopes) == ("desktop", {"write", "read"})
    assert (principal.expires_at, principal.token) == (expires, "secret")


async def test_a_token_of_a_machine_has_a_client_and_no_user(ask: Ask) -> None:
    principal = await ask.issued(user=None)
    assert principal is not None
    assert (principal.user, principal.subject, principal.client_id) == (None, "", "desktop")
    assert principal.owner


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resources": []}, "no resource"),
        ({"resources": ["https://other.example/mcp"]}, "not issued for this endpoint"),
        ({"resources": ["https://api.example"]}, "not issued for this endpoint"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "expired"),
    ],
)
async def test_what_is_refused(ask: Ask, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidCredential, match=message):
        await ask.issued(**changes)


@pytest.mark.parametrize("token", ["unknown", "more", "é"])
async def test_what_is_no_access_token_is_left_to_the_next_authenticator(ask: Ask, token: str) -> None:
    await ask.issued()
    assert await ask.of(token) is None


async def test_a_revoked_token_and_a_deactivated_user_count_at_once(ask: Ask, ann: User) -> None:
    principal = await ask.issued()
    assert principal is not None
    assert await ask.provider.authenticator.is_current(principal)
    await User.objects.filter(pk=ann.pk).aupdate(is_active=False)
    with pytest.raises(InvalidCredential, match="unknown here"):
        await ask.of("secret")
    assert not await ask.provider.authenticator.is_current(principal)
    await ask.provider.revoke()
    assert await ask.of("secret") is None
    assert not await ask.provider.authenticator.is_current(principal)


# allauth has no applications that may not be used.
@pytest.mark.parametrize("provider", [Toolkit], indirect=True)
async def test_an_application_that_may_not_be_used(ask: Ask) -> None:
    await ask.issued()
    with (
        mock.patch.object(Application, "is_usable", lambda *_: False),
        pytest.raises(InvalidCredential, match="may not be used"),
    ):
        await ask.of("secret")


async def test_a_database_that_does_not_answer_says_nothing_about_a_token(ask: Ask) -> None:
    principal = await ask.issued()
    assert principal is not None
    finding = mock.patch.object(ask.provider.authenticator, "find", side_effect=OperationalError)
    with finding as find:
        with pytest.raises(AuthenticationUnavailable):
            await ask.of("secret")
        assert find.call_count == 2
        # An open stream goes on meanwhile.
        assert await ask.provider.authenticator.is_current(principal)


async def test_a_connection_that_broke_meanwhile_is_replaced(ask: Ask) -> None:
    await ask.issued()
    real = ask.provider.authenticator.find
    failing = iter([OperationalError("gone")])

    def find(token: str) -> Any:
        for error in failing:
            raise error
        return real(token)

    with mock.patch.object(ask.provider.authenticator, "find", find):
        assert await ask.of("secret") is not None
