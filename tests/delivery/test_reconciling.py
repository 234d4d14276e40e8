"""What is open is compared with the store: some of it at a heartbeat, and everything after an outage."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from mcp_sessions.delivery import changes, get_hub
from mcp_sessions.delivery.follower import KEEP_ALIVE
from mcp_sessions.records import StreamRecord
from mcp_sessions.stores import get_store
from tests.process import eventually
from tests.servers import DEADLINE
from tests.sessions import Open


async def test_each_heartbeat_compares_some_and_an_outage_everything(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, compared = get_store().afind_streams, list[list[str]]()

    async def note(names: Any = (), **others: Any) -> Mapping[str, StreamRecord]:
        if names:  # What lost workers have left is looked for besides.
            compared.append(list(names))
        return await find(names, **others)

    sessions = [(await new_session()).record for _ in range(2)]
    followers = [await get_hub().connections.follow_new(session) for session in sessions]
    names = [*(each.stream.name for each in followers), *(each.key for each in sessions)]
    monkeypatch.setattr(get_store(), "afind_streams", note)
    monkeypatch.setattr(changes, "COMPARED", 3)
    listener = get_hub()._notifications.listener
    for _ in range(3):
        await listener.reconcile()
    assert compared == [names[:3], names[3:], names[:3]]
    compared.clear()
    await listener.reconcile(everything=True)
    assert compared == [names[:3], names[3:]]


async def test_a_keep_alive_wakes_no_task_where_it_can_be_pushed(new_session: Open) -> None:
    follower = await get_hub().connections.follow_new((await new_session()).record)
    pushed = list[bool]()

    def push() -> bool:
        pushed.append(len(pushed) == 0)
        return pushed[-1]

    follower.push_keep_alive = push
    items = follower.items()
    reading = asyncio.create_task(anext(items))
    async with asyncio.timeout(DEADLINE):
        await eventually(lambda: follower.is_idle)
        follower.keep_alive()
        assert pushed == [True] and follower.is_idle
        follower.keep_alive()
        assert await reading is KEEP_ALIVE and pushed == [True, False]
    await items.aclose()
