"""Rotation: a session has another id, its client is told, and the id before is good for a moment."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any, Final
from unittest import mock

import pytest
from django.utils import timezone

from mcp_sessions import arotate_session, signals
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exceptions import RotationRefused, SessionNotFound
from mcp_sessions.identifiers import digest_of
from mcp_sessions.models import Session
from mcp_sessions.principals import Principal
from mcp_sessions.records import EndReason
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, call, initialize, request, text_of
from tests.doors.conftest import OpenClient, on_mount
from tests.doors.doors import Door, Response
from tests.harness.running import eventually
from tests.harness.sse import Event
from tests.process import in_thread, only_session
from tests.servers import Gate, gates
from tests.settings import TOKENS

pytestmark = [pytest.mark.django_db(transaction=True), on_mount]


TOLD: Final = ("session-rotated", "session", "endpoint")
"""What a client gets when its session has another id."""


async def next_named(stream: Response, *names: str) -> list[Event]:
    """The next events but for heartbeats, which are to have these names."""
    found: list[Event] = []
    while len(found) < len(names):
        event = await stream.next_event()
        if event.event != "heartbeat":
            found.append(event)
    assert [event.event for event in found] == list(names)
    return found


async def opened(door: Door, **headers: str) -> tuple[Response, str]:
    """A session of the guide's: its stream, and its id."""
    stream = await McpClient(door, more_headers=dict(headers)).get()
    session, _ = await next_named(stream, "session", "endpoint")
    return stream, session.json()["session_id"]


async def status_of(door: Door, session_id: str, **headers: str) -> int:
    client = McpClient(door, more_headers={"X-Session-ID": session_id, **headers})
    return (await client.post(request("ping"))).status


def later(seconds: float) -> Any:
    """The clock of whoever looks whether an id is good, put forward."""
    now = timezone.now() + timedelta(seconds=seconds)
    return mock.patch("mcp_sessions.lifecycle.lookup.timezone.now", lambda: now)


async def test_the_client_is_told_and_goes_on_by_the_new_id(door: Door) -> None:
    stream, old = await opened(door)
    new = await arotate_session((await only_session()).key)
    rotated, session_event, endpoint = await next_named(stream, *TOLD)
    session = await only_session()
    assert session_event.json() == rotated.json()
    assert rotated.json() == {"session_id": new, "expires_at": session.expires_at.isoformat()}
    assert endpoint.data == f"/mcp?sse_session={new}"
    assert new != old and session.digest == digest_of(str(new))
    # What the stream tells from then on names the new one.
    assert await status_of(door, str(new)) == 200
    assert (await McpClient(door, more_headers={"X-Session-ID": new}).delete()).status == 204
    (expired,) = await next_named(stream, "session-expired")
    assert expired.json() == {"session_id": new, "reason": "deleted"}


async def test_the_old_id_is_good_for_the_grace_and_unknown_afterwards(door: Door) -> None:
    _, old = await opened(door)
    new = str(await arotate_session(old))
    with later(29):
        assert [await status_of(door, each) for each in (old, new)] == [200, 200]
    with later(31):
        assert [await status_of(door, each) for each in (old, new)] == [404, 200]
        by_old = await McpClient(door, more_headers={"X-Session-ID": old}).post(request("ping", id=3))
        unknown = await McpClient(door, more_headers={"X-Session-ID": "Z" * 32}).post(request("ping", id=3))
        assert await by_old.body() == await unknown.body()
        with pytest.raises(SessionNotFound):
            await arotate_session(old)


async def test_the_id_before_the_one_before_is_unknown_at_once(door: Door) -> None:
    _, oldest = await opened(door)
    old = str(await arotate_session(oldest))
    new = str(await arotate_session(old))
    assert [await status_of(door, each) for each in (oldest, old, new)] == [404, 200, 200]


async def test_the_grace_is_a_setting_of_the_endpoint(door: Door, settings: Any) -> None:
    chosen = {**settings.MCP_SESSIONS, "ROTATION_GRACE_SECONDS": 5}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", chosen)
    _, old = await opened(door)
    await arotate_session(old)
    with later(6):
        assert await status_of(door, old) == 404


async def test_a_client_that_comes_back_within_the_grace_is_told_the_new_id(door: Door) -> None:
    stream, old = await opened(door)
    place = str(stream.seen[-1].id)
    await stream.disconnect()
    new = await arotate_session(old)
    for named in ({"X-Session-ID": old}, {"Last-Event-ID": place}, {"X-Session-ID": new}):
        again = await McpClient(door).get(**named)
        told = () if named == {"X-Session-ID": new} else TOLD
        resumed, *rotated = await next_named(again, "session-resumed", *told)
        assert {event.json()["session_id"] for event in (resumed, *rotated[:2])} == {new}
        await again.disconnect()
    with later(31):
        dead = await McpClient(door).get(place)
        (expired, _) = await next_named(dead, "session-expired", "error")
        assert expired.json() == {"session_id": "", "reason": "session_not_found"}


async def test_a_browsers_own_return_goes_on_however_its_url_names_the_session(door: Door) -> None:
    """It keeps the URL of before every rotation, and the last event id names the session of today."""
    stream, first = await opened(door)
    await stream.disconnect()
    page = McpClient(door, f"/mcp?session_id={first}")
    stream = await page.get()
    await next_named(stream, "session-resumed")
    for _ in range(3):
        new = await arotate_session((await only_session()).key)
        rotated, *_ = await next_named(stream, *TOLD, "session-resumed")
        await stream.disconnect()
        with later(31):
            stream = await page.get(str(rotated.id))
            (resumed,) = await next_named(stream, "session-resumed")
        assert resumed.json()["session_id"] == new
    # Of another session that URL is not.
    _, other = await opened(door)
    conflict = await McpClient(door, f"/mcp?session_id={other}").get(str(stream.seen[0].id))
    assert conflict.status == 400


async def test_nothing_that_was_sent_is_lost_or_comes_twice(door: Door) -> None:
    stream, _old = await opened(door)
    key = (await only_session()).key
    from mcp_sessions import asend_session_message

    await asend_session_message(key, event="before", data=1)
    (before,) = await next_named(stream, "before")
    new = await arotate_session(key)
    await next_named(stream, *TOLD)
    await asend_session_message(key, event="after", data=2)
    await next_named(stream, "after")
    await stream.disconnect()
    again = await McpClient(door).get(str(before.id))
    await next_named(again, "session-resumed", *TOLD, "after")
    assert again.seen[0].json()["session_id"] == new


# -- whose clients cannot learn another id ---------------------------------------------------


async def test_a_client_of_the_specification_keeps_its_id_unless_its_session_is_to_end(
    connect: OpenClient,
) -> None:
    client = await connect()
    key = (await only_session()).key
    with pytest.raises(RotationRefused):
        await arotate_session(key)
    assert await client.status() == 200
    assert await arotate_session(key, end=True) is None
    assert await client.status() == 404
    assert (await only_session()).end_reason == EndReason.ROTATED


async def test_nor_does_a_client_that_posts_to_the_endpoint_of_its_stream(door: Door) -> None:
    stream = await McpClient(door).get()
    _, endpoint = await next_named(stream, "session", "endpoint")
    response = await McpClient(door, str(endpoint.data)).post(initialize("2024-11-05"))
    assert response.status == 202
    await next_named(stream, "message")
    with pytest.raises(RotationRefused):
        await arotate_session((await only_session()).key)


# -- authentication --------------------------------------------------------------------------


async def test_a_session_that_was_anonymous_becomes_the_owners_who_has_logged_in(
    door: Door, settings: Any
) -> None:
    await both_may_come(settings)
    ann = {"Authorization": f"Bearer {TOKENS['ann']}"}
    stream, old = await opened(door)
    owner = Principal("settings", "ann").owner
    new = str(await arotate_session(old, owner=owner))
    place = str(stream.seen[-1].id)
    # Whoever opened the stream may be somebody else: neither the id nor what comes now is for it.
    assert [event.event for event in await stream.events()] == ["heartbeat"]
    for session_id in (old, new):
        assert await status_of(door, session_id) == 404
        assert await status_of(door, session_id, **ann) == 200
        assert await status_of(door, session_id, Authorization=f"Bearer {TOKENS['ben']}") == 404
    stranger = await McpClient(door).get(place)
    await next_named(stranger, "session-expired", "error")
    # The owner's browser comes back by itself, and is told.
    mine = await McpClient(door, more_headers=dict(ann)).get(place)
    resumed, rotated, *_ = await next_named(mine, "session-resumed", *TOLD)
    assert resumed.json()["session_id"] == rotated.json()["session_id"] == new
    # What the owner has opened goes on when it is rotated again.
    newest = await arotate_session(new)
    rotated, *_ = await next_named(mine, *TOLD, "session-resumed")
    assert rotated.json()["session_id"] == newest


async def test_calls_of_the_one_before_end_when_a_session_has_another_owner(
    door: Door, settings: Any
) -> None:
    await both_may_come(settings)
    _, old = await opened(door)
    before = McpClient(door, more_headers={"X-Session-ID": old})
    ann = McpClient(door, more_headers={"X-Session-ID": old, "Authorization": f"Bearer {TOKENS['ann']}"})
    for name in ("json", "stream", "ann's"):
        gates[name] = Gate()
    only_json = before.post(call("slow", {"gate": "json"}, id=1), {"Accept": "application/json"})
    in_json = asyncio.create_task(only_json)
    await gates["json"].reached()
    in_stream = await before.post(call("progress", {"steps": 2, "gate": "stream"}, id=2, token="t"))
    await gates["stream"].reached()
    assert (await in_stream.next_message())["method"] == "notifications/progress"
    await arotate_session(old, owner=Principal("settings", "ann").owner)
    answered = await (await in_json).json()
    assert answered["error"]["data"] == {"reason": "rotated"}
    assert [event for event in await in_stream.events() if event.data] == []
    await eventually(lambda: gates["stream"].log == gates["json"].log == ["cancelled"])
    # A rotation that leaves the owner leaves the owner's calls.
    going_on = ann.posting(call("slow", {"gate": "ann's"}, id=3))
    await gates["ann's"].reached()
    new = str(await arotate_session(old))
    gates["ann's"].open()
    assert text_of(await (await going_on).json()) == "done"
    assert await status_of(door, new, Authorization=f"Bearer {TOKENS['ann']}") == 200


async def both_may_come(settings: Any) -> None:
    """Anonymous clients and those with a token, at /mcp."""
    static = settings.MCP_SESSIONS["SERVERS"]["/tokens"]["AUTHENTICATORS"]
    anonymous = "mcp_sessions.security.authentication.AllowAnonymous"
    chosen = {**settings.MCP_SESSIONS, "AUTHENTICATORS": [*static, anonymous]}
    await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", chosen)


async def test_a_login_by_many_requests_at_once_rotates_once(door: Door) -> None:
    _, old = await opened(door)
    given = await asyncio.gather(*(arotate_session(old, owner="ann") for _ in range(5)))
    session = await only_session()
    assert {digest_of(str(each)) for each in given} == {session.digest}
    assert session.previous_digest == digest_of(old)


# -- what is told of it ----------------------------------------------------------------------


async def test_it_is_in_the_log_and_a_signal_without_any_id(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    heard: list[tuple[str, str]] = []

    def hear(session: Any, reason: str, **_: Any) -> None:
        heard.append((session.key, reason))

    signals.session_rotated.connect(hear)
    try:
        _, old = await opened(door)
        key = (await only_session()).key
        new = str(await arotate_session(key))
        newest = str(await arotate_session(key, owner="ann"))
        await flush_deferred()
    finally:
        signals.session_rotated.disconnect(hear)
    assert heard == [(key, "requested"), (key, "authentication")]
    lines: list[Any] = [each for each in caplog.records if getattr(each, "mcp_event", "") == "rotated"]
    assert [(each.mcp_session, each.mcp_reason) for each in lines] == heard
    assert not any(each in caplog.text for each in (old, new, newest))


async def test_the_row_has_neither_id_and_nothing_of_them_after_the_grace(door: Door) -> None:
    _, old = await opened(door)
    new = str(await arotate_session(old))
    row = await in_thread(lambda: Session.objects.values().get())
    assert not any(each in str(row) for each in (old, new))
    await in_thread(lambda: Session.objects.update(previous_until=timezone.now() - timedelta(seconds=1)))
    await get_store().adelete_unreachable(timezone.now() - timedelta(hours=1), 10)
    session = await only_session()
    assert (session.previous_digest, session.previous_until, session.sealed_id) == ("", None, "")


async def test_a_worker_that_cannot_open_the_new_id_sends_its_clients_away(door: Door, settings: Any) -> None:
    """With another SECRET_KEY, or long after the grace: the old id is good for nothing any more."""
    stream, _ = await opened(door)
    with mock.patch("mcp_sessions.lifecycle.rotations.seal_id", lambda *_: "sealed elsewhere"):
        await arotate_session((await only_session()).key)
    (expired,) = await next_named(stream, "session-expired")
    assert expired.json()["reason"] == EndReason.ROTATED
