"""Credentials that become invalid: streams end, at once where Django knows, else at a heartbeat."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session as Login
from django.db import transaction
from django.test import Client

from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exceptions import AuthenticationUnavailable
from mcp_sessions.lifecycle import credentials
from mcp_sessions.models import Session
from mcp_sessions.security.authentication import DjangoSessions
from mcp_sessions.signals import connection_closed, session_ended
from tests.doors.client import McpClient, call
from tests.doors.doors import Door
from tests.logins import log_in, new_user
from tests.process import eventually, in_thread, only_session
from tests.servers import gates

OWN: Final = {"Origin": "http://testserver"}


def browser(door: Door, cookie: str) -> McpClient:
    return McpClient(door, path="/login", more_headers={"Cookie": cookie, **OWN})


@pytest.fixture
def heartbeats(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "HEARTBEAT_SECONDS": 0.05}


@pytest.fixture
def no_heartbeats(settings: Any) -> None:
    """What is told at once must not be what a heartbeat has found."""
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "HEARTBEAT_SECONDS": 3600}


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Why connections were closed and sessions ended."""
    reasons: list[str] = []

    def hear(reason: str, **_: Any) -> None:
        reasons.append(reason)

    for signal in (connection_closed, session_ended):
        signal.connect(hear)
    yield reasons
    for signal in (connection_closed, session_ended):
        signal.disconnect(hear)


# -- found by a heartbeat ------------------------------------------------------------------------


async def _logged_out_everywhere(user: Any) -> None:
    await in_thread(Login.objects.all().delete)


async def _deactivated(user: Any) -> None:
    await in_thread(lambda: get_user_model().objects.filter(pk=user.pk).update(is_active=False))


@pytest.mark.parametrize("change", [_logged_out_everywhere, _deactivated])
@pytest.mark.usefixtures("heartbeats")
async def test_a_heartbeat_finds_what_nobody_told(door: Door, change: Any, told: list[str]) -> None:
    ann = await new_user("ann")
    client = await browser(door, await log_in(ann)).open()
    stream = await client.get()
    await change(ann)
    await stream.body()
    assert await client.status() == 401
    await flush_deferred()
    # The session is there for its owner, who may log in again.
    assert told == ["revoked"] and (await only_session()).ended_at is None


@pytest.mark.usefixtures("heartbeats")
async def test_a_guides_client_is_told_and_the_session_stays(door: Door) -> None:
    ann = await new_user("ann")
    client = browser(door, await log_in(ann))
    stream = await client.get()
    await _logged_out_everywhere(ann)
    *_, last = [event for event in await stream.events() if event.event != "heartbeat"]
    assert (last.event, last.json()["error"]) == ("error", "invalid_token")
    # The browser comes back by itself, and any status but 200 ends that.
    assert (await client.get(last_event_id=str(stream.seen[0].id))).status == 401
    again = browser(door, await log_in(ann))
    back = await again.get(last_event_id=str(stream.seen[0].id))
    assert (await back.next_event()).event == "session-resumed"
    await back.disconnect()


@pytest.mark.usefixtures("heartbeats")
async def test_a_check_that_hangs_holds_no_other_up(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "CHECK_SECONDS", 0.05)
    check, asked = DjangoSessions.is_current, asyncio.Event()
    ann, ben = await new_user("ann"), await new_user("ben")

    async def is_current(authenticator: Any, principal: Any) -> bool:
        if principal.user == ben:
            asked.set()
            await asyncio.Event().wait()
        return await check(authenticator, principal)

    monkeypatch.setattr(DjangoSessions, "is_current", is_current)
    bens = await (await browser(door, await log_in(ben)).open()).get()
    anns = await (await browser(door, await log_in(ann)).open()).get()
    await asked.wait()
    await _deactivated(ann)
    await anns.body()
    # Of the other one nobody knows.
    await bens.disconnect()


@pytest.mark.usefixtures("heartbeats")
async def test_many_streams_of_a_credential_are_one_question(
    door: Door, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    asked: Counter[Any] = Counter()
    check = DjangoSessions.is_current

    async def is_current(authenticator: Any, principal: Any) -> bool:
        asked[principal.session_key] += 1
        return await check(authenticator, principal)

    monkeypatch.setattr(DjangoSessions, "is_current", is_current)
    ann = await new_user("ann")
    cookies = [await log_in(ann), await log_in(ann)]
    streams = [await (await browser(door, cookie).open()).get() for cookie in cookies * 3]
    await eventually(lambda: len(asked) == 2)
    asked.clear()
    await eventually(lambda: len(asked) == 2 and min(asked.values()) >= 2)
    # Six streams, and each round has two questions.
    assert max(asked.values()) - min(asked.values()) <= 1
    await in_thread(Login.objects.exclude(session_key=cookies[0].partition("=")[2]).delete)
    for stream in streams[1::2]:
        await stream.body()
    assert all(stream._leave.is_set() is False for stream in streams[::2])
    for stream in streams[::2]:
        await stream.disconnect()


@pytest.mark.usefixtures("heartbeats")
async def test_while_nobody_knows_streams_stay(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def is_current(*_: Any) -> bool:
        asked.set()
        raise AuthenticationUnavailable

    client = await browser(door, await log_in(await new_user("ann"))).open()
    monkeypatch.setattr(DjangoSessions, "is_current", is_current)
    stream = await client.get()
    await asked.wait()
    asked.clear()
    await asked.wait()
    monkeypatch.undo()
    await client.call("announce", {"texts": ["still here"]})
    assert (await stream.next_message())["params"]["data"] == "still here"
    await stream.disconnect()


@pytest.mark.usefixtures("heartbeats")
async def test_a_running_call_goes_on_and_its_result_waits_for_its_owner(door: Door, gate: str) -> None:
    ann = await new_user("ann")
    client = await browser(door, await log_in(ann)).open()
    reply = await client.post(call("progress", {"steps": 2, "gate": gate}, token="t"))
    seen = await reply.next_event()
    await _logged_out_everywhere(ann)
    await reply.body()
    gates[gate].open()
    client.more_headers["Cookie"] = await log_in(ann)
    (*_, result) = await (await client.get(last_event_id=str(reply.seen[-1].id or seen.id))).messages()
    assert result["result"]["content"][0]["text"] == "done"


# -- told at once --------------------------------------------------------------------------------


async def _saved_as_inactive(user: Any) -> None:
    user.is_active = False
    await in_thread(user.save)


async def _deleted(user: Any) -> None:
    await in_thread(user.delete)


@pytest.mark.parametrize("change", [_saved_as_inactive, _deleted])
@pytest.mark.usefixtures("no_heartbeats")
async def test_who_is_gone_loses_sessions_at_once(door: Door, change: Any, told: list[str]) -> None:
    ann, ben = await new_user("ann"), await new_user("ben")
    client = await browser(door, await log_in(ann)).open()
    another = await browser(door, await log_in(ben)).open()
    stream = await client.get()
    await change(ann)
    await stream.body()
    assert await client.status() == 401
    assert await another.status() == 200
    await eventually(lambda: len(told) == 2)
    assert "revoked" in told
    ended = await in_thread(lambda: list(Session.objects.values_list("end_reason", flat=True)))
    assert sorted(ended) == ["", "revoked"]


async def _with_another_password(user: Any) -> None:
    user.set_password("another")
    await in_thread(user.save)


async def _logged_out(user: Any) -> None:
    await in_thread(lambda: _log_out(user))


def _log_out(user: Any) -> None:
    key = Login.objects.get().session_key
    other_browser = Client()
    other_browser.cookies["sessionid"] = key
    other_browser.logout()


@pytest.mark.parametrize("change", [_with_another_password, _logged_out])
@pytest.mark.usefixtures("no_heartbeats")
async def test_streams_of_an_old_login_end_at_once(door: Door, change: Any) -> None:
    ann = await new_user("ann")
    client = await browser(door, await log_in(ann)).open()
    stream = await client.get()
    await change(ann)
    await stream.body()
    assert await client.status() == 401
    assert (await only_session()).ended_at is None


@pytest.mark.usefixtures("no_heartbeats")
async def test_a_change_that_is_rolled_back_changes_nothing(door: Door) -> None:
    ann = await new_user("ann")
    client = await browser(door, await log_in(ann)).open()
    await in_thread(lambda: _save_and_roll_back(ann))
    assert await client.status() == 200
    assert (await only_session()).ended_at is None


def _save_and_roll_back(user: Any) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        user.is_active = False
        user.save()
        raise RuntimeError("something else failed")
