"""The watch of sessions that something is open or running for, and what it makes of their end."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from mcp_sessions.delivery import get_hub
from mcp_sessions.lifecycle.expiry_watch import Watch
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store
from tests.sessions import Open

pytestmark = pytest.mark.django_db(transaction=True)


async def test_a_session_that_has_ended_is_not_watched_though_a_request_came_meanwhile(
    new_session: Open,
) -> None:
    session, watch = (await new_session("guide")).record, current().service(Watch)
    load = get_store().aload_by_key

    async def load_meanwhile(key: str) -> SessionRecord | None:
        watch.watch(session)
        await get_store().aend(key, timezone.now(), EndReason.DELETED)
        return await load(key)

    await get_hub().connections.follow_new(session)
    watch.watch(session)
    look: Any = watch._looks[session.key]
    with mock.patch.object(get_store(), "aload_by_key", load_meanwhile):
        await look.run()
    assert look.is_idle
    assert not (watch._looks or watch._sessions)


async def test_a_look_that_was_due_when_its_session_was_forgotten_does_nothing(new_session: Open) -> None:
    watch = current().service(Watch)
    await watch._look((await new_session()).key)
    assert not (watch._looks or watch._sessions)
