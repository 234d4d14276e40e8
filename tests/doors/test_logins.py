"""Django's own login at the entry points: whose cookie is taken, and when a cookie is not enough."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.middleware.csrf import _get_new_csrf_string
from django.test import override_settings

from mcp_sessions.principals import user_owner
from tests.doors.client import McpClient, initialize, request
from tests.doors.conftest import every_door
from tests.doors.doors import Door, Response
from tests.logins import log_in, new_user
from tests.process import in_thread, only_session, rows

OWN: Final = "http://testserver"
EVIL: Final = "https://evil.example"


def browser(door: Door, cookie: str, origin: str | None = OWN, **more: str | None) -> McpClient:
    return McpClient(door, path="/login", more_headers={"Cookie": cookie, "Origin": origin, **more})


async def reason_of(response: Response) -> tuple[int, str]:
    return response.status, (await response.json())["error"]["data"]["reason"]


@every_door
async def test_a_session_belongs_to_the_user_who_is_logged_in(door: Door) -> None:
    ann, ben = await new_user("ann"), await new_user("ben")
    client = await browser(door, await log_in(ann)).open()
    assert (await only_session()).owner == user_owner(ann.pk)
    assert await client.call("echo", {"text": "hello"}) == "hello"
    # From another device it is the same user's.
    client.more_headers["Cookie"] = await log_in(ann)
    assert await client.status() == 200
    client.more_headers["Cookie"] = await log_in(ben)
    assert await client.status() == 404


ENGINES: Final = ("db", "cache", "cached_db", "file", "signed_cookies")


@pytest.mark.parametrize("engine", ENGINES)
async def test_every_engine_of_sessions_will_do(door: Door, engine: str, settings: Any) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    ann = await new_user("ann")
    assert await browser(door, await log_in(ann)).status(initialize()) == 200
    for cookie in ("sessionid=nobody", "sessionid=" + "x" * 5000, "sessionid=..%2f..%2fetc", "sessionid=é"):
        assert await reason_of(await browser(door, cookie).post(initialize())) == (401, "not_authenticated")


async def test_who_has_not_logged_in_is_left_to_the_next_authenticator(door: Door, settings: Any) -> None:
    """A shop keeps sessions of visitors, too."""
    cookie = await in_thread(_visit)
    assert await reason_of(await browser(door, cookie).post(initialize())) == (401, "not_authenticated")
    await in_thread(lambda: allow(settings, "AllowAnonymous"))
    await browser(door, cookie).open()
    assert (await only_session()).owner == ""


def _visit() -> str:
    from django.contrib.sessions.backends.db import SessionStore

    store = SessionStore()
    store["basket"] = ["a book"]
    store.create()
    return f"sessionid={store.session_key}"


def allow(settings: Any, *more: str) -> None:
    names = [f"mcp_sessions.security.authentication.{name}" for name in ("DjangoSessions", *more)]
    servers = settings.MCP_SESSIONS["SERVERS"]
    login = {**servers["/login"], "AUTHENTICATORS": names}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": {**servers, "/login": login}}


def allow_origins(settings: Any, *origins: str) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "ALLOWED_ORIGINS": origins}


async def _deactivated(user: Any) -> None:
    await in_thread(lambda: get_user_model().objects.filter(pk=user.pk).update(is_active=False))


async def _deleted(user: Any) -> None:
    await in_thread(user.delete)


async def _with_another_password(user: Any) -> None:
    user.set_password("another")
    await in_thread(user.save)


async def _logged_out(user: Any) -> None:
    await in_thread(Session.objects.all().delete)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_deactivated, "invalid_token"),
        (_deleted, "invalid_token"),
        (_with_another_password, "invalid_token"),
        (_logged_out, "not_authenticated"),
    ],
)
async def test_who_may_no_more_is_refused_at_the_next_request(door: Door, change: Any, reason: str) -> None:
    ann = await new_user("ann")
    client = await browser(door, await log_in(ann)).open()
    await change(ann)
    assert await reason_of(await client.post(request("ping"))) == (401, reason)
    assert await reason_of(await client.delete()) == (401, reason)


async def test_a_backend_that_knows_inactive_users_makes_no_difference(door: Door, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.AllowAllUsersModelBackend"]
    ann = await new_user("ann", is_active=False)
    client = browser(door, await log_in(ann))
    assert await reason_of(await client.post(initialize())) == (401, "invalid_token")


async def test_a_session_is_read_and_never_changed(door: Door, settings: Any) -> None:
    """With another SECRET_KEY Django's pages give it a new key, which no browser would learn of from here."""
    cookie = await log_in(await new_user("ann"))
    before = await in_thread(lambda: list(Session.objects.values()))
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another one, and long enough for all who look at it, whoever they are"
    client = await browser(door, cookie).open()
    assert await client.status() == 200
    assert await in_thread(lambda: list(Session.objects.values())) == before


# -- what a browser sends by itself --------------------------------------------------------------


@pytest.mark.parametrize("origin", [EVIL, None, "null", "http://testserver.evil.example"])
async def test_a_cookie_alone_is_not_enough(door: Door, origin: str | None) -> None:
    ann = await new_user("ann")
    cookie = await log_in(ann)
    client = await browser(door, cookie).open()
    client.more_headers["Origin"] = origin
    expected = (403, "csrf" if origin is None else "origin")
    assert await reason_of(await client.post(initialize())) == expected
    assert await reason_of(await client.post(request("ping"))) == expected
    assert await reason_of(await client.delete()) == expected
    assert (await rows())["Session"] == 1
    assert (await only_session()).end_reason == ""


async def test_an_origin_that_any_page_has_is_not_enough_either(door: Door, settings: Any) -> None:
    """ALLOWED_ORIGINS "*" permits pages that send a token of their own."""
    cookie = await log_in(await new_user("ann"))
    await in_thread(lambda: allow_origins(settings, "*"))
    assert await reason_of(await browser(door, cookie, EVIL).post(initialize())) == (403, "csrf")
    await in_thread(lambda: allow_origins(settings, "*", EVIL))
    assert await browser(door, cookie, EVIL).status(initialize()) == 200


@pytest.mark.parametrize("by_session", [False, True])
async def test_djangos_csrf_token_is_as_good_as_an_origin(
    door: Door, by_session: bool, settings: Any
) -> None:
    settings.CSRF_USE_SESSIONS = by_session
    secret = _get_new_csrf_string()
    cookie = await log_in(await new_user("ann"))
    if by_session:
        await in_thread(lambda: _keep_in_session(cookie, secret))
    else:
        cookie = f"{cookie}; csrftoken={secret}"
    for token, expected in ((secret, 200), (_get_new_csrf_string(), 403), ("short", 403), (None, 403)):
        client = browser(door, cookie, origin=None, **{"X-CSRFToken": token})
        assert await client.status(initialize()) == expected, token


def _keep_in_session(cookie: str, secret: str) -> None:
    from django.contrib.sessions.backends.db import SessionStore

    store = SessionStore(cookie.partition("=")[2])
    store["_csrftoken"] = secret
    store.save()


async def test_behind_https_the_referer_counts_as_django_has_it(door: Door) -> None:
    secret = _get_new_csrf_string()
    cookie = f"{await log_in(await new_user('ann'))}; csrftoken={secret}"
    told = {"X-CSRFToken": secret, "X-Forwarded-Proto": "https"}
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
        for referer, expected in ((None, 403), (f"{EVIL}/", 403), ("https://testserver/page", 200)):
            client = browser(door, cookie, origin=None, Referer=referer, **told)
            assert await client.status(initialize()) == expected, referer


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_no_page_of_another_site_opens_streams(door: Door, site: str) -> None:
    """`fetch` in no-cors mode sends cookies and no Origin; the page would use up the user's sessions."""
    cookie = await log_in(await new_user("ann"))
    stranger = browser(door, cookie, origin=None, **{"Sec-Fetch-Site": site})
    assert await reason_of(await stranger.get()) == (403, "csrf")
    assert (await rows())["Session"] == 0
    own = browser(door, cookie, origin=None, **{"Sec-Fetch-Site": "same-origin"})
    stream = await own.get()
    assert (await stream.next_event()).event == "session"
    await stream.disconnect()
    assert (await only_session()).owner.startswith("user:")


async def test_the_loop_waits_for_no_database(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """And asgiref's one thread is not used: whatever blocks it blocks no login."""
    cookie = await log_in(await new_user("ann"))
    release = asyncio.Event()
    from asgiref.sync import sync_to_async

    entered = asyncio.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(entered.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    blocking = asyncio.create_task(sync_to_async(block)())
    await entered.wait()
    try:
        assert await browser(door, cookie).status(initialize()) == 200
    finally:
        release.set()
        await blocking
