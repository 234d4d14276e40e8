"""How far streams were sent, and which were left: what is held back, and until when."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mcp_sessions import background
from mcp_sessions.delivery import get_hub
from mcp_sessions.delivery.delivered import Delivered
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.records import StreamRecord
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores import get_store
from tests.servers import DEADLINE
from tests.sessions import Open


async def test_a_stream_that_is_attached_twice_at_once_is_attached_until_both_are_done() -> None:
    delivered = Delivered(Runtime(asyncio.get_running_loop()), lambda moved: None)
    async with delivered.attaching("stream"):
        async with delivered.attaching("stream"), delivered.attaching("another"):
            assert delivered.is_attaching("stream")
        assert delivered.is_attaching("stream")
        assert not delivered.is_attaching("another")
    assert not delivered.is_attaching("stream")


async def only_stream_of(key: str) -> StreamRecord:
    (stream,) = list((await get_store().afind_streams(sessions=[key])).values())
    return stream


async def until_nobody_reads(key: str) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await only_stream_of(key)).reader:
            await asyncio.sleep(0.01)


async def test_that_the_last_stream_was_left_is_stored_however_long_the_store_is_away(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await new_session()).record
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    follower = await get_hub().connections.follow_new(session)
    mark, left = get_store().amark_delivered, [None] * 5

    async def away(*arguments: Any, **named: Any) -> Any:
        if left:
            left.pop()
            raise StoreUnavailable("It is away.")
        return await mark(*arguments, **named)

    monkeypatch.setattr(get_store(), "amark_delivered", away)
    follower.detach()
    await until_nobody_reads(session.key)


async def test_nobody_reads_a_stream_of_which_it_is_not_known_whether_it_was_attached(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, attach = (await new_session()).record, get_store().aattach

    async def attach_and_fail(*arguments: Any, **named: Any) -> Any:
        await attach(*arguments, **named)
        raise StoreUnavailable("It is unknown whether the transaction took place.")

    monkeypatch.setattr(get_store(), "aattach", attach_and_fail)
    monkeypatch.setattr(background, "RETRY_SECONDS", 0.01)
    with pytest.raises(StoreUnavailable):
        await get_hub().connections.follow_new(session)
    await until_nobody_reads(session.key)
