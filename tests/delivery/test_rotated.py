"""Another owner's session: what the one before has begun ends, however late this process hears of it."""

from __future__ import annotations

import pytest

from mcp_sessions import arotate_session
from mcp_sessions.delivery import Closing, get_hub
from tests.harness.running import eventually
from tests.sessions import Open

pytestmark = pytest.mark.django_db(transaction=True)


class FakeCall:
    counts = True

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def cancel(self, message: str, reason: str) -> None:
        if not self.reasons:
            self.reasons.append(reason)

    def give_up(self) -> None:
        raise AssertionError("It was cancelled, and nobody stops the process.")


async def test_a_request_that_came_before_a_rotation_and_begins_after_it_is_not_forgotten(
    new_session: Open,
) -> None:
    """It knows the session as it was, and another call of the process has read the message since then."""
    hub, session = get_hub(), (await new_session("guide")).record
    early, late = FakeCall(), FakeCall()
    hub.calls.register(session, 1, early)
    await arotate_session(session.key, owner="settings:ann")
    await eventually(lambda: early.reasons == ["rotated"])
    hub.calls.register(session, 2, late)
    reply = hub.connections.follow(await hub.open(session.key, "post", [2]), 0, session)
    stream = await hub.connections.follow_new(session)
    await eventually(lambda: late.reasons == ["rotated"])
    await eventually(lambda: {reply.closing, stream.closing} == {Closing.ROTATED})
    # Nothing is sent that was stored meanwhile.
    await (await hub.send_message(session.key, '"the owner\'s"'))
    assert [item async for item in stream.items()] == [item async for item in reply.items()] == []
    for number, each in enumerate((early, late), 1):
        hub.calls.unregister(session, number, each)
