"""What the store will never take costs nobody anything else, and who waits for it is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import pytest

from mcp_sessions import jsonrpc
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import InvalidSessionData
from mcp_sessions.models import StreamEvent
from mcp_sessions.protocol.channel import GetStreamChannel, ReplyChannel
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores import get_store
from tests.process import in_thread
from tests.sessions import Open

DEADLINE: Final = 30.0
HUGE: Final = "TOO LONG"


@pytest.fixture
async def session(new_session: Open, monkeypatch: pytest.MonkeyPatch) -> SessionRecord:
    """A session in a store that does not take everything."""
    append = get_store().aappend

    async def taking(batch: Any, *rest: Any) -> Any:
        if HUGE in repr(batch):
            raise InvalidSessionData("The database does not take this.")
        return await append(batch, *rest)

    record = (await new_session()).record
    monkeypatch.setattr(get_store(), "aappend", taking)
    return record


def result(request_id: int, text: str) -> str:
    return jsonrpc.encode(jsonrpc.result(request_id, {"text": text}))


def stored() -> list[Any]:
    rows = StreamEvent.objects.order_by("stream", "position").values_list("data", flat=True)
    return [json.loads(data) for data in rows]


async def test_the_events_of_others_are_stored(session: SessionRecord) -> None:
    async with asyncio.timeout(DEADLINE):
        waiting = [await get_hub().send_message(session.key, f'"{text}"') for text in ("a", HUGE, "b")]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(outcomes[1], InvalidSessionData)
    assert await in_thread(stored) == ["a", "b"]


async def test_an_answer_that_cannot_be_stored_is_an_error(session: SessionRecord) -> None:
    channel = ReplyChannel(get_hub(), session, [1, 2], is_batch=True)
    async with asyncio.timeout(DEADLINE):
        stream = await channel.become_stream()
        await asyncio.gather(channel.answer(result(1, HUGE)), channel.answer(result(2, "fine")))
    first, second = await in_thread(stored)
    assert (first["id"], first["error"]["code"]) == (1, jsonrpc.INTERNAL_ERROR)
    assert second == json.loads(result(2, "fine"))
    assert (await get_store().afind_streams([stream.name]))[stream.name].ended_at is not None


async def test_the_last_answer_that_cannot_be_stored_ends_its_stream(session: SessionRecord) -> None:
    channel = ReplyChannel(get_hub(), session, [1])
    async with asyncio.timeout(DEADLINE):
        stream = await channel.become_stream()
        await channel.answer(result(1, HUGE))
    assert [message["id"] for message in await in_thread(stored)] == [1]
    assert (await get_store().afind_streams([stream.name]))[stream.name].ended_at is not None


async def test_an_answer_on_a_get_stream_that_cannot_be_stored_is_an_error(session: SessionRecord) -> None:
    async with asyncio.timeout(DEADLINE):
        channel = await GetStreamChannel.open(get_hub(), session, 1)
        await channel.answer(result(1, HUGE))
    [message] = await in_thread(stored)
    assert (message["id"], message["error"]["code"]) == (1, jsonrpc.INTERNAL_ERROR)


@pytest.mark.parametrize("kind", ["reply", "get stream"])
async def test_a_question_that_cannot_be_stored_is_not_waited_for(session: SessionRecord, kind: str) -> None:
    request = jsonrpc.request("a", "elicitation/create", {"message": HUGE})
    async with asyncio.timeout(DEADLINE):
        channel = (
            ReplyChannel(get_hub(), session, [1])
            if kind == "reply"
            else await GetStreamChannel.open(get_hub(), session, 1)
        )
        with pytest.raises(InvalidSessionData):
            await channel.send(request)
