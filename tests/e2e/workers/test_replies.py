"""A tool on one worker asks the client, and the client answers to the other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.e2e.workers.conftest import Workers, both_stores, every_mode
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import messages, next_message, rest, text_of
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.wire import RawSession, Response, answer


@dataclass(frozen=True)
class Question:
    """A tool that asks, what the client is asked and answers, and what the tool makes of it."""

    arguments: Mapping[str, Any]
    method: str
    reply: Mapping[str, Any]
    result: str


QUESTIONS: Final[dict[str, Question]] = {
    "ask": Question(
        {"question": "Who?"},
        "elicitation/create",
        {"action": "accept", "content": {"name": "Ada"}},
        json.dumps({"question": "Who?", "action": "accept", "content": {"name": "Ada"}}),
    ),
    "sample": Question(
        {"prompt": "How many?"},
        "sampling/createMessage",
        {"role": "assistant", "model": "a model", "content": {"type": "text", "text": "42"}},
        "42",
    ),
    "roots": Question({}, "roots/list", {"roots": [{"uri": "file:///home"}]}, json.dumps(["file:///home"])),
}
CAPABILITIES: Final[dict[str, Any]] = {"elicitation": {}, "sampling": {}, "roots": {}}


async def opened(workers: Workers) -> tuple[RawSession, RawSession]:
    """A session of a client that can be asked, through the one worker and through the other."""
    session = await RawSession.open(workers[0].url, capabilities=CAPABILITIES)
    return session, through(session, workers[1])


def accepted(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


async def asked_on(response: Response) -> Any:
    """The request of the server that comes next."""
    message = (await next_message(response)).json()
    assert isinstance(message["id"], str) and "method" in message, message
    return message


async def name_in(response: Response) -> str:
    """The name that the tool was given in the end."""
    name: str = json.loads(text_of(await answer(response)))["content"]["name"]
    return name


async def post(at: RawSession, message: dict[str, Any]) -> None:
    async with at.post(message) as response:
        assert (response.status, await response.body()) == (202, b"")


@pytest.mark.parametrize("tool", QUESTIONS)
def test_the_answer_arrives_elsewhere(tool: str, workers: Workers) -> None:
    question = QUESTIONS[tool]

    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        async with session.post(session.tool_call(tool, question.arguments)) as response:
            asked = await asked_on(response)
            assert asked["method"] == question.method
            await elsewhere.reply(asked["id"], question.reply)
            assert text_of(await answer(response)) == question.result

    run(scenario())


def test_two_questions_are_answered_in_the_opposite_order(workers: Workers) -> None:
    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        calls = [session.tool_call("ask", {"question": question}) for question in ("first?", "second?")]
        async with session.post(calls[0]) as first, session.post(calls[1]) as second:
            of_first, of_second = await asked_on(first), await asked_on(second)
            assert (of_first["params"]["message"], of_second["params"]["message"]) == ("first?", "second?")
            await elsewhere.reply(of_second["id"], accepted("for the second"))
            assert await name_in(second) == "for the second"
            await elsewhere.reply(of_first["id"], accepted("for the first"))
            assert await name_in(first) == "for the first"

    run(scenario())


def test_tools_of_both_workers_are_answered_at_the_other(workers: Workers) -> None:
    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        here, there = (at.tool_call("ask", {"question": "Who?"}) for at in (session, elsewhere))
        async with session.post(here) as of_here, elsewhere.post(there) as of_there:
            asked_here, asked_there = await asked_on(of_here), await asked_on(of_there)
            await session.reply(asked_there["id"], accepted("there"))
            await elsewhere.reply(asked_here["id"], accepted("here"))
            assert [await name_in(of_here), await name_in(of_there)] == ["here", "there"]

    run(scenario())


def test_a_reply_that_answers_nothing_is_accepted_and_harmless(workers: Workers) -> None:
    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        async with session.post(session.tool_call("ask", {"question": "Who?"})) as response:
            asked = await asked_on(response)
            for wrong in ("unknown", 1, -1, asked["id"] + "x", ""):
                await elsewhere.reply(wrong, accepted("nobody"))
            await elsewhere.reply(asked["id"], accepted("Ada"))
            await elsewhere.reply(asked["id"], accepted("too late"))
            assert await name_in(response) == "Ada"
        await elsewhere.reply(asked["id"], accepted("far too late"))
        assert await elsewhere.status_of_ping() == 200

    run(scenario())


def test_another_session_cannot_answer(workers: Workers) -> None:
    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        _, stranger = await opened(workers)
        async with session.post(session.tool_call("ask", {"question": "Who?"})) as response:
            asked = await asked_on(response)
            for at in (stranger, through(stranger, workers[0])):
                await at.reply(asked["id"], accepted("Mallory"))
            await elsewhere.reply(asked["id"], accepted("Ada"))
            assert await name_in(response) == "Ada"

    run(scenario())


def test_an_error_reaches_the_tool_as_an_error(workers: Workers) -> None:
    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        async with session.post(session.tool_call("ask", {"question": "Who?"})) as response:
            asked = await asked_on(response)
            error = {"code": -1, "message": "User rejected"}
            await post(elsewhere, {"jsonrpc": "2.0", "id": asked["id"], "error": error})
            assert json.loads(text_of(await answer(response))) == error

    run(scenario())


@both_stores
def test_a_large_answer_arrives_elsewhere(workers: Workers) -> None:
    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        async with session.post(session.tool_call("ask", {"question": "Who?"})) as response:
            asked = await asked_on(response)
            await elsewhere.reply(asked["id"], accepted("ü😀" * 200_000))
            assert await name_in(response) == "ü😀" * 200_000

    run(scenario())


def test_progress_of_the_client_arrives_elsewhere(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        question, gate = QUESTIONS["sample"], gates.new()
        async with session.post(
            session.tool_call("sample", {**question.arguments, "gate": gate})
        ) as response:
            asked = await asked_on(response)
            token = asked["params"]["_meta"]["progressToken"]
            for params in (
                {},
                {"progressToken": 1, "progress": 7},
                {"progressToken": token, "progress": "x"},
            ):
                await elsewhere.notify("notifications/progress", params)
            await elsewhere.notify("notifications/progress", {"progressToken": token, "progress": 1})
            await gates.noted(gate, "progress 1")
            await elsewhere.reply(asked["id"], question.reply)
            assert text_of(await answer(response)) == question.result
        assert gates.notes(gate) == ["progress 1"]

    run(scenario())


@every_mode
def test_a_question_is_read_and_answered_elsewhere(workers: Workers) -> None:
    """The connection was cut before the question came: the other worker has it, and then the result."""

    async def scenario() -> None:
        session, elsewhere = await opened(workers)
        call = session.tool_call("ask", {"question": "Who?"})
        async with session.post(call) as response:
            primed = await response.next_event()
            assert primed.is_priming
            response.cut()
        async with elsewhere.get(primed.id) as response:
            asked = await asked_on(response)
            await elsewhere.reply(asked["id"], accepted("Ada"))
            (result,) = messages(await rest(response))
        assert result["id"] == call["id"] and json.loads(text_of(result))["content"] == {"name": "Ada"}

    run(scenario())


def test_replies_in_one_batch_arrive_elsewhere(workers: Workers) -> None:
    """2025-03-26 has batches; 50 questions of one session are answered by one POST."""

    async def scenario() -> None:
        session = await RawSession.open(workers[0].url, "2025-03-26", CAPABILITIES)
        elsewhere = through(session, workers[1])
        calls = [session.tool_call("ask", {"question": f"{n}"}) for n in range(50)]
        async with session.post(calls) as response:
            asked = [await asked_on(response) for _ in calls]
            replies = [
                {"jsonrpc": "2.0", "id": each["id"], "result": accepted(each["params"]["message"])}
                for each in asked
            ]
            async with elsewhere.post(replies) as taken:
                assert taken.status == 202, await taken.body()
            results = {each["id"]: json.loads(text_of(each)) for each in messages(await rest(response))}
        assert [results[call["id"]]["content"]["name"] for call in calls] == [f"{n}" for n in range(50)]

    run(scenario())
