"""Streams that nobody writes to any more: what is said of them."""

from __future__ import annotations

import pytest

from mcp_sessions import jsonrpc
from mcp_sessions.delivery import get_hub
from mcp_sessions.records import MESSAGE
from tests.process import eventually
from tests.sessions import Open

pytestmark = pytest.mark.django_db(transaction=True)

LOST = "lost with their worker"


@pytest.mark.parametrize("answered", [0, 1, 2])
async def test_calls_are_lost_that_have_no_answer(
    process: None, new_session: Open, answered: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The last answer may be stored without the end of its stream, if the worker leaves between the two."""
    session, hub = await new_session(), get_hub()
    stream = await hub.open(session.key, "post", [1, 2])
    for request_id in range(1, answered + 1):
        await (await hub.append(stream, MESSAGE, jsonrpc.encode(jsonrpc.result(request_id, {}))))
    hub.leave(stream)
    hub._orphans.look()
    follower = hub.connections.follow(stream, 0, session.record)
    messages = [item async for item in follower.items()]
    assert len(messages) == 2
    follower.detach()
    expected = [f"session {session.key}: {2 - answered} calls were {LOST}"] if answered < 2 else []
    await eventually(lambda: said(caplog) == expected)


async def test_a_stream_that_has_ended_meanwhile_is_not_lost(
    process: None, new_session: Open, caplog: pytest.LogCaptureFixture
) -> None:
    session, hub = await new_session(), get_hub()
    stream = await hub.open(session.key, "post", [1])
    await (await hub.append(stream, MESSAGE, jsonrpc.encode(jsonrpc.result(2, {})), ends=True))
    await hub._orphans._end(stream)
    assert said(caplog) == []


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if LOST in message]
