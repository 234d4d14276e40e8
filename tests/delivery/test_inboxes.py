"""Inboxes of sessions that a process only holds: each message is read once, and a deleted one is no loss."""

from __future__ import annotations

import logging
from datetime import timedelta
from unittest import mock

import pytest
from django.utils import timezone

from mcp_sessions.delivery import get_hub
from mcp_sessions.records import Inbound
from mcp_sessions.stores import get_store
from tests.sessions import Open

pytestmark = pytest.mark.django_db(transaction=True)


async def test_an_inbox_whose_last_message_was_deleted_is_read_once(
    new_session: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process has asked, a third one has got the answer, and the first has forgotten the request."""
    session, hub, store = (await new_session()).record, get_hub(), get_store()
    inboxes = hub._inboxes
    inboxes.hold(session)

    await store.aadd_request(session.key, "r1", timezone.now() + timedelta(hours=1), None)
    await store.aappend([Inbound(session.key, '{"answer": {}}', "r1", answers=True)])
    await store.adrop_request(session.key, "r1")
    await inboxes.catch_up([session.key])

    async def read_by_a_heartbeat() -> list[str]:
        found = await store.afind_streams([session.key])
        # Without an await: the poller looks as well, whenever it has its turn.
        with mock.patch.object(inboxes, "look") as look:
            inboxes.compare([session.key], found)
        return list(look.call_args.args[0])

    assert await read_by_a_heartbeat() == []
    await store.adelete_unreachable(timezone.now() + timedelta(seconds=1), 100)
    assert await read_by_a_heartbeat() == []
    with caplog.at_level(logging.WARNING):
        await inboxes.catch_up([session.key])
    assert "trimmed" not in caplog.text
    inboxes.release(session.key)
