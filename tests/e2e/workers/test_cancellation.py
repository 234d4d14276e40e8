"""A call on one worker is cancelled by a notification that arrives at the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.workers.conftest import Workers, every_mode
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import messages, next_message, rest, text_of
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.wire import RawSession, answer

CANCELLED = -32800


async def cancel(at: RawSession, request_id: Any) -> None:
    await at.notify("notifications/cancelled", {"requestId": request_id, "reason": "enough"})


def assert_cancelled(message: dict[str, Any], request_id: Any) -> None:
    assert message["id"] == request_id and type(message["id"]) is type(request_id)
    assert (message["error"]["code"], message["error"]["data"]["reason"]) == (CANCELLED, "cancelled")


async def answered(at: RawSession, message: dict[str, Any]) -> dict[str, Any]:
    async with at.post(message) as response:
        assert response.status == 200, (response.status, await response.body())
        return await answer(response)


@every_mode
def test_a_call_that_is_a_stream_is_cancelled(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session, gate = await RawSession.open(workers[0].url), gates.new()
        call = session.tool_call("steps", {"gates": [gate]}, token="t")
        async with session.post(call) as response:
            await next_message(response)
            await cancel(through(session, workers[1]), call["id"])
            (last,) = messages(await rest(response))
        assert_cancelled(last, call["id"])
        await gates.noted(gate, "cancelled")
        assert gates.notes(gate) == ["started", "cancelled"]

    run(scenario())


@every_mode
def test_a_call_that_has_sent_nothing_is_cancelled(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session, gate = await RawSession.open(workers[0].url), gates.new()
        call = session.tool_call("quiet", {"gate": gate})
        waiting = asyncio.create_task(answered(session, call))
        await gates.noted(gate, "started")
        await cancel(through(session, workers[1]), call["id"])
        assert_cancelled(await waiting, call["id"])
        await gates.noted(gate, "cancelled")
        assert gates.notes(gate) == ["started", "cancelled"]

    run(scenario())


def test_a_call_that_is_read_elsewhere_is_cancelled_there(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session, gate = await RawSession.open(workers[0].url), gates.new()
        call = session.tool_call("steps", {"gates": [gate]}, token="t")
        async with session.post(call) as response:
            first = await next_message(response)
            response.cut()
        elsewhere = through(session, workers[1])
        async with elsewhere.get(first.id) as response:
            await cancel(elsewhere, call["id"])
            (last,) = messages(await rest(response))
        assert_cancelled(last, call["id"])
        await gates.noted(gate, "cancelled")

    run(scenario())


@pytest.mark.parametrize("kind", [int, str])
def test_a_number_and_its_text_are_two_ids(kind: type, workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        gone, kept = gates.new(), gates.new()
        call = session.tool_call("quiet", {"gate": gone})
        number = call["id"]
        cancelled_id: Any = kind(number)
        kept_id: Any = str(number) if kind is int else number
        other = {**session.tool_call("quiet", {"gate": kept}), "id": kept_id}
        waiting = asyncio.create_task(answered(session, {**call, "id": cancelled_id}))
        keeping = asyncio.create_task(answered(session, other))
        for gate in (gone, kept):
            await gates.noted(gate, "started")
        await cancel(through(session, workers[1]), cancelled_id)
        assert_cancelled(await waiting, cancelled_id)
        gates.open(kept)
        told = await keeping
        assert told["id"] == kept_id and type(told["id"]) is type(kept_id)
        assert text_of(told) == f"done by {workers[0].pid}"
        assert gates.notes(kept) == ["started", "finished"]

    run(scenario())


def test_what_names_no_running_call_is_harmless(workers: Workers, gates: Gates) -> None:
    """An unknown id, one that is over, one that is no id; the last one that is cancelled shows it."""

    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        elsewhere = through(session, workers[1])
        over = session.tool_call("echo", {"text": "over"})
        await answered(session, over)
        kept, gone = gates.new(), gates.new()
        calls = [session.tool_call("quiet", {"gate": gate}) for gate in (kept, gone)]
        keeping, waiting = (asyncio.create_task(answered(session, call)) for call in calls)
        for gate in (kept, gone):
            await gates.noted(gate, "started")
        kept_id = calls[0]["id"]
        no_call: list[Any] = ["unknown", 10**9, over["id"], None, True, kept_id + 0.5, [kept_id], {}]
        for wrong in no_call:
            await cancel(elsewhere, wrong)
        await elsewhere.notify("notifications/cancelled")
        await cancel(elsewhere, calls[1]["id"])
        assert_cancelled(await waiting, calls[1]["id"])
        gates.open(kept)
        assert text_of(await keeping) == f"done by {workers[0].pid}"

    run(scenario())


def test_another_session_cannot_cancel(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session, stranger = [await RawSession.open(workers[0].url) for _ in range(2)]
        kept, gone = gates.new(), gates.new()
        call = session.tool_call("quiet", {"gate": kept})
        keeping = asyncio.create_task(answered(session, call))
        # The stranger's call has the same id: it is the one that is meant.
        strangers = {**stranger.tool_call("quiet", {"gate": gone}), "id": call["id"]}
        waiting = asyncio.create_task(answered(stranger, strangers))
        for gate in (kept, gone):
            await gates.noted(gate, "started")
        await cancel(through(stranger, workers[1]), call["id"])
        assert_cancelled(await waiting, call["id"])
        gates.open(kept)
        assert text_of(await keeping) == f"done by {workers[0].pid}"

    run(scenario())


def test_a_call_that_waits_for_its_client_is_cancelled(workers: Workers) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url, capabilities={"elicitation": {}})
        call = session.tool_call("ask", {"question": "Who?"})
        async with session.post(call) as response:
            asked = (await next_message(response)).json()
            await cancel(through(session, workers[1]), call["id"])
            *before, last = messages(await rest(response))
        assert [(each["method"], each["params"]["requestId"]) for each in before] == [
            ("notifications/cancelled", asked["id"])
        ]
        assert_cancelled(last, call["id"])

    run(scenario())
