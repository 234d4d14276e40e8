"""What happens on two workers at the same moment, or while one of them is not looking."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import Workers, both_stores, every_mode
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import (
    guide_stream,
    messages,
    next_message,
    next_named,
    rest,
    text_of,
    until_left,
)
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, Response, answer, request

TIMES: Final = 25


@both_stores
def test_a_call_that_begins_while_its_session_ends_is_not_left_behind(workers: Workers, gates: Gates) -> None:
    """Its gate never opens: it is refused, or told that the session has ended."""

    async def scenario() -> None:
        here, there = workers
        for _ in range(TIMES):
            session = await RawSession.open(here.url)
            call = session.tool_call("quiet", {"gate": gates.new()})
            calling = asyncio.create_task(outcome(session, call))
            status, told = await asyncio.gather(through(session, there).delete(), calling)
            assert status == 204 and told in {"404", "session_ended"}

    run(scenario())


async def outcome(session: RawSession, call: dict[str, object]) -> str:
    async with session.post(call) as response:
        if response.status != 200:
            await response.body()
            return str(response.status)
        reason: str = (await answer(response))["error"]["data"]["reason"]
        return reason


@both_stores
def test_a_stream_that_opens_while_its_session_ends_is_not_left_open(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        for _ in range(TIMES):
            session = await RawSession.open(here.url)
            opening = asyncio.create_task(status_and_end(session))
            deleted, status = await asyncio.gather(through(session, there).delete(), opening)
            assert deleted == 204 and status in {200, 404}

    run(scenario())


async def status_and_end(session: RawSession) -> int:
    async with session.get() as response:
        if response.status == 200:
            assert messages(await rest(response)) == []
        return response.status


@both_stores
def test_an_answer_given_twice_at_once_is_taken_once(workers: Workers) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url, capabilities={"elicitation": {}})
        both = [session, through(session, workers[1])]
        for _ in range(TIMES):
            async with session.post(session.tool_call("ask", {"question": "Who?"})) as response:
                asked = (await next_message(response)).json()
                content = {"action": "accept", "content": {"name": "Ada"}}
                await asyncio.gather(*(at.reply(asked["id"], content) for at in both))
                assert "Ada" in (await answer(response))["result"]["content"][0]["text"]

    run(scenario())


# -- while one of them is not looking ----------------------------------------------------------


@both_stores
def test_what_waits_in_a_stream_that_was_left_comes_on_the_open_one(workers: Workers) -> None:
    """The worker with the old stream notices late that its client has gone, to the other.

    If it was just about to read the store, it sends into the broken connection before it notices;
    who resumes that stream gets the message, who opens another does not. Then once more.
    """

    async def first_on_the_open_one() -> str:
        here, there = workers
        session = await RawSession.open(here.url, "2025-06-18")
        key = text_of(await session.call("session_key"))
        async with session.get() as left:
            assert left.status == 200
            here.pause()
            left.cut()
        elsewhere = through(session, there)
        await elsewhere.call("say", {"texts": ["while nobody read"]})
        async with elsewhere.get() as response:
            assert response.status == 200
            here.resume()
            # What is said once it has noticed, and stored that, comes behind what has waited.
            await until_left(there, key, 1)
            await elsewhere.call("say", {"texts": ["later"]})
            told: str = (await next_message(response)).json()["params"]["data"]
            return told

    async def scenario() -> None:
        told = "later"
        for _ in range(TIMES):
            told = await first_on_the_open_one()
            if told != "later":
                break
        assert told == "while nobody read"

    run(scenario())


def test_what_was_taken_for_a_broken_connection_does_not_come_behind_what_came_later(
    workers: Workers, gates: Gates
) -> None:
    """Its client has read a later message elsewhere before the worker notices. Resumed, the stream has it."""
    gate = gates.new()

    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        elsewhere = through(session, there)
        key = text_of(await session.call("session_key"))
        async with session.get() as broken, AsyncExitStack() as stack:
            priming = await broken.next_event()
            await session.call("hold_taken", {"gate": gate})
            await elsewhere.call("say", {"texts": ["taken"]})
            await gates.noted(gate, "taken")
            newer = await stack.enter_async_context(elsewhere.get())
            await elsewhere.call("say", {"texts": ["later"]})
            assert await next_said(newer) == "later"
            broken.cut()
            await until_left(there, key, 1)
            await elsewhere.call("say", {"texts": ["at last"]})
            assert await next_said(newer) == "at last"
        async with elsewhere.get(priming.id) as again:
            assert await next_said(again) == "taken"

    try:
        run(scenario())
    finally:
        gates.open(gate)


async def next_said(response: Response) -> str:
    said: str = (await next_message(response)).json()["params"]["data"]
    return said


def test_a_session_that_ended_meanwhile_is_over_when_it_looks_again(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        async with session.get() as standing, guide_session(here) as guide:
            here.pause()
            assert await through(session, there).delete() == 204
            assert await delete_guide(there, guide.session_id) == 204
            here.resume()
            assert messages(await rest(standing)) == []
            assert (await next_named(guide.response)).json()["reason"] == "deleted"

    run(scenario())


async def delete_guide(worker: ServerProcess, session_id: str) -> int:
    async with request("DELETE", worker.url, {"X-Session-ID": session_id}) as response:
        await response.body()
        return response.status


@every_mode
def test_what_a_worker_missed_it_has_when_it_looks_again(workers: Workers) -> None:
    """Messages, an answer and a cancellation, all of them while it stood still."""

    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url, capabilities={"elicitation": {}})
        elsewhere = through(session, there)
        ask = session.tool_call("ask", {"question": "Who?"})
        cancelled = session.tool_call("ask", {"question": "What?"})
        async with session.get() as standing, session.post(ask) as first, session.post(cancelled) as second:
            asked = (await next_message(first)).json()
            await next_message(second)
            here.pause()
            await elsewhere.call("say", {"texts": ["1", "2"]})
            await elsewhere.reply(asked["id"], {"action": "accept", "content": {"name": "Ada"}})
            await elsewhere.notify("notifications/cancelled", {"requestId": cancelled["id"]})
            here.resume()
            assert [(await next_message(standing)).json()["params"]["data"] for _ in range(2)] == ["1", "2"]
            assert "Ada" in (await answer(first))["result"]["content"][0]["text"]
            assert (await answer(second))["error"]["data"]["reason"] == "cancelled"

    run(scenario())


def test_a_browser_that_comes_back_early_reads_on_alone(workers: Workers) -> None:
    """Its old connection is still open on the other worker: that one closes, and no event comes twice."""

    async def scenario() -> None:
        async with guide_session(workers[0]) as guide, AsyncExitStack() as stack:
            left, place = guide.response, guide.last_id
            for turn in range(1, 6):
                back = await stack.enter_async_context(guide_stream(guide, workers[turn % 2], place))
                assert await rest(left) == []
                await guide.call("announce", {"event": "note", "text": f"{turn}"})
                told = await next_named(back)
                assert told.json() == {"text": f"{turn}"} and told.id
                left, place = back, told.id

    run(scenario())
