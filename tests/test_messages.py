"""Messages to sessions from anywhere in the project."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest
from django.conf import settings as configured
from django.db import transaction

from mcp_sessions import (
    SessionEventManager,
    asend_notification,
    asend_notification_to_all,
    asend_resource_updated,
    asend_session_message,
    commits,
    end_session,
    runtime,
    send_notification,
    send_notification_to_all,
    send_resource_updated,
    send_session_message,
)
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exceptions import ConfigurationError, InvalidSessionData, SessionNotFound, StoreUnavailable
from mcp_sessions.lifecycle import end, end_sync, find, open_session
from mcp_sessions.models import StreamEvent
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import run_sync
from mcp_sessions.signals import session_ended
from mcp_sessions.stores import get_store
from tests.process import in_thread, rows
from tests.servers import DEADLINE
from tests.sessions import Open, open_sync

NEVER_A_KEY = "0" * 24
CHANGED = "notifications/tools/list_changed"
MEMORY: Final = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}


def events() -> list[tuple[str, Any]]:
    return [(event.name, json.loads(event.data)) for event in StreamEvent.objects.order_by("pk")]


async def test_a_message_waits_for_a_guide_client(new_session: Open) -> None:
    session = await new_session("guide")
    assert await session.send_event("order-shipped", {"order": 7}) is True
    assert await asend_session_message(session.key, event="again", data=None) is True
    assert await in_thread(events) == [("order-shipped", {"order": 7}), ("again", None)]


async def test_a_session_may_be_named_by_its_id(new_session: Open) -> None:
    session_id, _ = await open_session("/mcp", "", {"dialect": "guide"})
    assert await asend_session_message(session_id, event="a") is True


async def test_clients_of_the_specification_get_no_named_events(new_session: Open) -> None:
    session = await new_session()
    assert await session.send_event("a", 1) is False
    assert await in_thread(events) == []


async def test_an_unknown_session_is_not_found(new_session: Open) -> None:
    ended = await new_session("guide")
    await end(ended.key, "deleted")
    for key in (NEVER_A_KEY, ended.key, "", "A" * 32, "a\x00b", "\ud800", "x" * 1000):
        with pytest.raises(SessionNotFound):
            await asend_session_message(key, event="a")


async def test_what_cannot_be_sent_is_refused_before_anything_else(new_session: Open) -> None:
    session = await new_session("guide")
    for name in ("", "message", "a b", "a\nb", "a\r", "\x00", "ä", "x" * 65):
        with pytest.raises(InvalidSessionData):
            await session.send_event(name, None)
        with pytest.raises(InvalidSessionData):
            send_session_message(session.key, event=name)
    for data in (object(), {1: object()}, float("nan"), b"a"):
        with pytest.raises(InvalidSessionData):
            await session.send_event("a", data)
    assert await in_thread(events) == []


async def test_any_text_may_be_sent(new_session: Open) -> None:
    session = await new_session("guide")
    data = {"text": "a\x00b\ud800\u2028\r\n\n", "n": 2**70}
    await session.send_event("a", data)
    assert await in_thread(events) == [("a", data)]


def test_synchronous_code_sends_too(process: None) -> None:
    key = open_sync()
    send_session_message(key, event="a", data=[1])
    assert events() == [("a", [1])]
    with pytest.raises(SessionNotFound):
        send_session_message(NEVER_A_KEY, event="a")


def test_within_a_transaction_it_is_sent_on_commit(process: None) -> None:
    key = open_sync()
    with transaction.atomic():
        with transaction.atomic():
            send_session_message(key, event="a")
        assert events() == []
    assert events() == [("a", None)]


def test_after_a_rollback_nothing_is_sent(process: None) -> None:
    key = open_sync()
    with pytest.raises(KeyError), transaction.atomic():
        send_session_message(key, event="a")
        send_resource_updated("note://1")
        raise KeyError
    assert events() == []


MANAGER: Final = SessionEventManager()
SENDERS: Final[dict[str, Callable[[str], None]]] = {
    "message": lambda key: send_session_message(key, event="a"),
    "notification": lambda key: send_notification(key, CHANGED),
    "warning": lambda key: MANAGER.notify_session_warning(key, 60),
    "limit": lambda key: MANAGER.notify_session_limit_reached(key),
}
to_one_session = pytest.mark.parametrize("send", SENDERS.values(), ids=SENDERS)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What is logged about messages."""
    with caplog.at_level(logging.INFO, "mcp_sessions.messages"):
        yield lambda: [each.getMessage() for each in caplog.records if each.name == "mcp_sessions.messages"]


@to_one_session
def test_a_commit_is_not_disturbed_by_a_session_that_has_ended(
    process: None, lines: Callable[[], list[str]], send: Callable[[str], None]
) -> None:
    key, hooks = open_sync(), list[str]()
    session_id, session = run_sync(open_session("/mcp", "", {"dialect": "guide"}))
    with transaction.atomic():
        for each in (key, session.key):
            transaction.on_commit(partial(end_sync, each, "deleted"))
        send(key)
        send(session_id)
        transaction.on_commit(lambda: hooks.append("another app's"))
    assert hooks == ["another app's"]
    about_key, about_id = lines()
    assert key in about_key and about_key.endswith("not sent, the session is not there or has ended")
    assert session_id not in about_id
    with pytest.raises(SessionNotFound):
        send(key)


@pytest.mark.parametrize("error", [StoreUnavailable("It is away."), ValueError("a fault of ours")])
def test_a_commit_is_not_disturbed_by_a_store_that_fails(
    process: None, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[str]], error: Exception
) -> None:
    async def fail(*_: object) -> Any:
        raise error

    key, hooks = open_sync(), list[str]()
    monkeypatch.setattr("mcp_sessions.messages.find", fail)
    monkeypatch.setattr("mcp_sessions.messages._send_to_all", fail)
    monkeypatch.setattr("mcp_sessions.messages._send_resource_updated", fail)
    with transaction.atomic():
        for send in SENDERS.values():
            send(key)
        send_notification_to_all(CHANGED)
        send_resource_updated("note://1")
        transaction.on_commit(lambda: hooks.append("another app's"))
    assert hooks == ["another app's"]
    assert [line.startswith("not sent: ") for line in lines()] == [True] * 6


def test_commits_wait_for_a_store_that_hangs_once_and_not_for_long(
    process: None, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[str]]
) -> None:
    answer = threading.Event()
    key, found = open_sync(), run_sync(find(open_sync()))

    async def hang(_: str) -> SessionRecord:
        await asyncio.to_thread(answer.wait)
        return found

    monkeypatch.setattr("mcp_sessions.messages.find", hang)
    monkeypatch.setattr(commits, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(commits, "MAX_WAITING", 2)
    monkeypatch.setattr(commits, "STOP_SECONDS", DEADLINE)
    for _ in range(3):
        with transaction.atomic():
            send_session_message(key, event="a")
    late, lost = lines()
    assert late.endswith("not sent within 0.01 seconds, it is sent in the background")
    assert lost.startswith("not sent, 2 others wait to be sent: ")
    answer.set()
    # A stopping process waits for what was committed.
    runtime.stop()
    assert events() == [("a", None)] * 2


@pytest.mark.django_db(databases=["default", "postgres"], transaction=True)
@pytest.mark.skipif("postgres" not in configured.DATABASES, reason="needs a second database")
def test_it_is_sent_when_the_last_of_several_databases_commits(process: None) -> None:
    key = open_sync()
    with transaction.atomic(using="postgres"):
        with transaction.atomic():
            send_session_message(key, event="a")
        assert events() == []
        send_session_message(key, event="b")
        assert events() == []
    assert sorted(events()) == [("a", None), ("b", None)]


def test_a_session_that_is_ended_in_a_transaction_does_not_wait_for_receivers_that_need_its_locks(
    process: None, settings: Any
) -> None:
    """Nor do they fail: they are called, and what they wait for is the commit."""
    # Not the database's: on SQLite it would wait for the transaction, which docs/tools.md says.
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": MEMORY, "SESSION_ROWS": False}
    key, has_committed, told = open_sync(), threading.Event(), list[bool]()

    def hear(**_: Any) -> None:
        told.append(has_committed.wait(DEADLINE))

    session_ended.connect(hear)
    try:
        with transaction.atomic():
            transaction.on_commit(has_committed.set)
            assert end_session(key) is not None
        run_sync(flush_deferred())
    finally:
        session_ended.disconnect(hear)
    assert told == [True]


async def subscribe(*keys: str) -> None:
    for key in keys:
        await get_store().asubscribe(key, "note://1")


TOOLS_CHANGED = ("message", {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
UPDATED = (
    "message",
    {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "note://1"}},
)


async def test_subscribers_are_told_of_updates(new_session: Open) -> None:
    subscribed = [await new_session(), await new_session("guide"), await new_session()]
    await new_session()
    await subscribe(*(session.key for session in subscribed))
    await end(subscribed[-1].key, "deleted")
    assert await asend_resource_updated("note://1") == 2
    assert await asend_resource_updated("note://2") == 0
    assert await in_thread(events) == [UPDATED, UPDATED]


@pytest.mark.parametrize("servers", [("/mcp", "/other"), ("/other",)])
async def test_servers_may_have_resources_of_the_same_uri(
    process: None, settings: Any, servers: tuple[str, ...]
) -> None:
    known = settings.MCP_SESSIONS["SERVERS"]
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": {path: known[path] for path in servers}}
    for path in servers:
        _, session = await open_session(path, "", {"dialect": "specification"}, "initialize")
        await subscribe(session.key)
    for path in servers:
        assert await asend_resource_updated("note://1", server=path) == 1
    # Without a path: the one that there is, or else the one at /mcp.
    assert await asend_resource_updated("note://1") == 1
    assert await asend_notification_to_all("notifications/tools/list_changed") == 1
    assert await in_thread(events) == [UPDATED] * len(servers) + [UPDATED, TOOLS_CHANGED]


def test_synchronous_code_tells_of_updates_on_commit(process: None) -> None:
    key = open_sync("specification")
    run_sync(subscribe(key))
    with transaction.atomic():
        send_resource_updated("note://1")
        assert events() == []
    assert events() == [UPDATED]
    end_sync(key, "deleted")
    send_resource_updated("note://1")
    assert events() == [UPDATED]


async def test_a_bad_uri_has_no_subscribers(new_session: Open) -> None:
    for uri in ("", "a\x00b", "\ud800", "x" * 100_000):
        assert await asend_resource_updated(uri) == 0
    assert (await rows())["StreamEvent"] == 0


def log(level: str) -> dict[str, Any]:
    return {"level": level, "data": "late"}


async def test_a_notification_goes_to_one_session(new_session: Open) -> None:
    session, _ = await new_session(), await new_session()
    await asend_notification(session.key, CHANGED)
    await asend_notification(session.key, "notifications/message", log("info"))
    assert [each["method"] for _, each in await in_thread(events)] == [CHANGED, "notifications/message"]
    with pytest.raises(SessionNotFound):
        await asend_notification(NEVER_A_KEY, CHANGED)


async def test_of_several_servers_one_has_to_be_named(process: None, settings: Any) -> None:
    """Sent to nobody without a word, a message would be missed much later."""
    servers = {"/one": "tests.servers:server", "/two": "tests.servers:other"}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": servers}
    with pytest.raises(ConfigurationError, match="name one of '/one', '/two'"):
        await asend_resource_updated("note://1")
    with pytest.raises(ConfigurationError, match="name one of '/one', '/two'"):
        await asend_notification_to_all(CHANGED)


async def test_a_notification_goes_to_all_sessions_of_a_server(new_session: Open) -> None:
    sessions = [await new_session(), await new_session("guide"), await new_session()]
    await open_session("/other", "", {"dialect": "specification"})
    await end(sessions[0].key, "deleted")
    assert await asend_notification_to_all(CHANGED) == 2
    assert await asend_notification_to_all(CHANGED, server="/other") == 1
    assert await asend_notification_to_all(CHANGED, server="/nowhere") == 0
    assert [each["method"] for _, each in await in_thread(events)] == [CHANGED] * 3


async def test_all_are_more_than_a_page(new_session: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp_sessions.messages.PAGE", 2)
    for _ in range(5):
        await new_session()
    assert await asend_notification_to_all(CHANGED) == 5
    assert (await rows())["StreamEvent"] == 5


async def test_log_messages_reach_those_who_want_them(new_session: Open) -> None:
    for level in ("debug", "error"):
        await get_store().asave_metadata((await new_session()).key, {"log_level": level})
    assert await asend_notification_to_all("notifications/message", log("warning")) == 1
    assert await asend_notification_to_all("notifications/message", log("error")) == 2


def test_synchronous_code_notifies_on_commit(process: None) -> None:
    key = open_sync("specification")
    with transaction.atomic():
        send_notification(key, CHANGED)
        send_notification_to_all(CHANGED)
        assert events() == []
    assert len(events()) == 2


async def test_what_is_no_notification_is_refused(new_session: Open) -> None:
    session = await new_session()
    for method in ("", "tools/list", "notifications"):
        with pytest.raises(InvalidSessionData):
            await asend_notification(session.key, method)
        with pytest.raises(InvalidSessionData):
            send_notification_to_all(method)
    with pytest.raises(InvalidSessionData):
        await asend_notification(session.key, CHANGED, {"n": float("nan")})
    assert await in_thread(events) == []
