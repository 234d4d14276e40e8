"""Cancellation, log levels, subscriptions, and requests to the client."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mcp_sessions import asend_resource_updated
from mcp_sessions.delivery import get_hub, retry
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.models import Subscription
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.doors.client import VERSIONS, McpClient, call, request, text_of
from tests.doors.conftest import OpenClient, either_loop, every_door, on_mount, streaming, under_wsgi
from tests.process import eventually, in_thread, only_session, rows
from tests.servers import gates

LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
EVERY_LEVEL = {level: level for level in LEVELS}


class Outage(DatabaseSessionStore):
    """A store that is unavailable for the first attempts to remember what a client asks for."""

    attempts_left = 0

    def subscribe(self, *args: Any) -> bool:
        self._fail()
        return super().subscribe(*args)

    def save_metadata(self, *args: Any) -> Any:
        self._fail()
        return super().save_metadata(*args)

    def _fail(self) -> None:
        if Outage.attempts_left > 0:
            Outage.attempts_left -= 1
            raise StoreUnavailable("It is away.")


@pytest.fixture
def outage(settings: Any, monkeypatch: pytest.MonkeyPatch) -> type[Outage]:
    monkeypatch.setattr(retry, "PAUSES", (0.01, 0.01))
    monkeypatch.setattr(Outage, "attempts_left", 0)
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": {"BACKEND": f"{__name__}.Outage"}}
    return Outage


ASKED = [("resources/subscribe", {"uri": "note://1"}), ("logging/setLevel", {"level": "error"})]


@on_mount
@pytest.mark.parametrize(("method", "params"), ASKED)
async def test_what_a_session_remembers_waits_for_the_store(
    outage: type[Outage], connect: OpenClient, method: str, params: dict[str, Any]
) -> None:
    client = await connect()
    outage.attempts_left = 2
    assert (await (await client.post(request(method, params, id=1))).json())["result"] == {}
    outage.attempts_left = 3
    error = (await (await client.post(request(method, params, id=2))).json())["error"]
    assert error["data"] == {"reason": "store_unavailable"}


# Cancellation


@every_door
async def test_a_cancelled_call_is_stopped_and_answered_by_an_error(connect: OpenClient, gate: str) -> None:
    client = await connect()
    posted = client.posting(call("slow", {"gate": gate}, id="c"))
    await gates[gate].reached()
    await client.cancel("c", "changed my mind")
    response = await posted
    message = await response.json()
    assert (response.status, message["id"]) == (200, "c")
    assert message["error"]["code"] == -32800
    assert "changed my mind" in message["error"]["message"]
    assert gates[gate].log == ["cancelled"]


@streaming
async def test_a_cancelled_stream_ends_with_an_error(connect: OpenClient, gate: str) -> None:
    client = await connect()
    response = await client.post(call("progress", {"steps": 2, "gate": gate}, id=4, token=1))
    await gates[gate].reached()
    await client.cancel(4)
    *_, last = await response.messages()
    assert (last["id"], last["error"]["code"]) == (4, -32800)
    assert gates[gate].log == ["cancelled"]


async def test_cancelling_what_does_not_run_is_harmless(connect: OpenClient, gate: str) -> None:
    client, other = await connect(), await connect()
    posted = client.posting(call("slow", {"gate": gate}, id=1))
    await gates[gate].reached()
    wrong: list[Any] = ["1", 2, 1.0, True, None, [1], {"id": 1}, -1, 2**70, "\x00", "\ud800"]
    for request_id in wrong:
        await client.cancel(request_id)
    await client.notify("notifications/cancelled")
    await client.notify("notifications/cancelled", {"reason": "none"})
    await client.notify("notifications/cancelled", {"requestId": 9, "reason": {"not": "a string"}})
    await other.cancel(1)
    assert not posted.done()
    gates[gate].open()
    assert text_of(await (await posted).json()) == "done"
    await client.cancel(1)
    assert gates[gate].log == ["finished"]


async def test_a_string_and_a_number_are_two_requests(connect: OpenClient, gate: str) -> None:
    client = await connect()
    posted = client.posting(call("slow", {"gate": gate}, id="1"))
    await gates[gate].reached()
    await client.cancel(1)
    assert not posted.done()
    await client.cancel("1")
    assert (await (await posted).json())["error"]["code"] == -32800


@on_mount
async def test_a_call_that_is_cancelled_before_it_begins_is_answered(
    connect: OpenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may find in one step that it has a call and that the call has to end."""
    client, calls = await connect(), get_hub().calls
    register = calls.register

    def register_and_cancel(session: Any, request_id: Any, running: Any) -> None:
        register(session, request_id, running)
        running.cancel("The worker was lost", "worker_lost")

    monkeypatch.setattr(calls, "register", register_and_cancel)
    answer = await client.ask(call("echo", {"text": "never"}, id="early"))
    assert (answer["id"], answer["error"]["data"]["reason"]) == ("early", "worker_lost")
    await eventually(lambda: not list(calls))


@on_mount
@pytest.mark.parametrize("ending", ["cancel", "delete", "drain"])
async def test_every_call_with_an_id_is_known(connect: OpenClient, gate: str, ending: str) -> None:
    """A client should not use an id twice at once, but its older call is a call all the same."""
    client = await connect()
    calls = get_hub().calls
    older = client.posting(call("slow", {"gate": gate}, id="same"))
    await eventually(lambda: len(list(calls)) == 1)
    newer = client.posting(call("slow", {"gate": gate}, id="same"))
    await eventually(lambda: len(list(calls)) == 2)
    await gates[gate].reached()
    endings = {"cancel": lambda: client.cancel("same"), "delete": client.delete, "drain": get_hub().drain}
    await endings[ending]()
    answers = [await (await posted).json() for posted in (older, newer)]
    (reason,) = {answer["error"]["data"]["reason"] for answer in answers}
    assert reason == {"cancel": "cancelled", "delete": "session_ended", "drain": "worker_lost"}[ending]
    await eventually(lambda: not list(calls) and not calls)


@on_mount
async def test_a_call_ends_and_another_with_its_id_goes_on(connect: OpenClient, gate: str) -> None:
    client = await connect()
    running = client.posting(call("slow", {"gate": gate}, id="same"))
    await gates[gate].reached()
    assert await client.call("echo", {"text": "quick"}, id="same") == "quick"
    await client.cancel("same")
    assert (await (await running).json())["error"]["code"] == -32800


async def test_a_cancelled_call_withdraws_its_question(connect: OpenClient) -> None:
    client = await connect()
    response = await client.post(call("elicit", {"message": "who?"}, id=1))
    question = await response.next_message()
    await client.cancel(1)
    withdrawn, last = await response.messages()
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == question["id"]
    assert last["error"]["code"] == -32800
    await client.reply(question["id"], {"action": "decline"})


async def test_one_call_of_a_batch_is_cancelled(connect: OpenClient, gate: str) -> None:
    client = await connect(version="2025-03-26")
    posted = client.posting([call("slow", {"gate": gate}, id="a"), call("echo", {"text": "b"}, id="b")])
    await gates[gate].reached()
    await client.cancel("a")
    answers = {answer["id"]: answer for answer in await (await posted).json()}
    assert answers["a"]["error"]["code"] == -32800
    assert text_of(answers["b"]) == "b"


@either_loop
async def test_the_end_of_a_session_stops_its_calls(connect: OpenClient, gate: str) -> None:
    client, other = await connect(), await connect()
    posted = client.posting(call("slow", {"gate": gate}))
    await gates[gate].reached()
    await client.delete()
    response = await posted
    message = await response.json()
    assert message["error"]["data"]["reason"] in ("session_ended", "session_not_found")
    assert gates[gate].log == ["cancelled"]
    assert await other.status() == 200


@streaming
async def test_the_end_of_a_session_ends_its_streams(connect: OpenClient, gate: str) -> None:
    client = await connect()
    response = await client.post(call("progress", {"steps": 2, "gate": gate}, token=1))
    await gates[gate].reached()
    await client.delete()
    await response.events()
    assert gates[gate].log == ["cancelled"]


# Logging


async def test_every_level_is_sent_until_one_is_set(connect: OpenClient) -> None:
    client = await connect()
    *logged, _ = await (await client.post(call("log", {"texts": EVERY_LEVEL}))).messages()
    assert [each["params"]["data"] for each in logged] == list(LEVELS)


@pytest.mark.parametrize("level", LEVELS)
async def test_the_level_is_kept_in_the_session_and_filters(connect: OpenClient, level: str) -> None:
    client, other = await connect(), await connect()
    assert (await client.ask(request("logging/setLevel", {"level": level})))["result"] == {}
    for each, first in ((client, level), (other, "debug")):
        response = await each.post(call("log", {"texts": EVERY_LEVEL}))
        *logged, _ = await response.messages()
        assert [m["params"]["level"] for m in logged] == list(LEVELS[LEVELS.index(first) :])


async def test_a_bad_level_is_refused(connect: OpenClient) -> None:
    client = await connect()
    assert (await client.ask(request("logging/setLevel", {"level": "error"})))["result"] == {}
    for params in ({"level": "loud"}, {"level": 1}, {"level": None}, {"level": "Error"}, {}, None):
        message = await client.ask(request("logging/setLevel", params))
        assert message["error"]["code"] == -32602, params
    assert (await only_session()).metadata["log_level"] == "error"


# Subscriptions


async def test_subscriptions_are_rows(connect: OpenClient) -> None:
    client, other = await connect(), await connect()
    for _ in range(2):
        for uri in ("note://1", "note://2"):
            assert (await client.ask(request("resources/subscribe", {"uri": uri})))["result"] == {}
    assert (await other.ask(request("resources/subscribe", {"uri": "note://1"})))["result"] == {}
    assert (await rows())["Subscription"] == 3
    for _ in range(2):
        assert (await client.ask(request("resources/unsubscribe", {"uri": "note://1"})))["result"] == {}
    left = await in_thread(lambda: sorted(Subscription.objects.values_list("uri", flat=True)))
    assert left == ["note://1", "note://2"]


async def test_malformed_subscriptions_are_refused(connect: OpenClient) -> None:
    client = await connect()
    for params in ({}, None, {"uri": 1}, {"uri": None}, {"uri": ["note://1"]}):
        for method in ("resources/subscribe", "resources/unsubscribe"):
            message = await client.ask(request(method, params))
            assert message["error"]["code"] == -32602, params
    assert (await rows())["Subscription"] == 0


async def test_what_is_kept_for_a_session_is_declared(door: Any) -> None:
    client = McpClient(door)
    response = await client.post(
        request(
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "a", "version": "1"},
            },
        )
    )
    capabilities = (await response.json())["result"]["capabilities"]
    assert capabilities["logging"] == {}
    assert capabilities["resources"] == {"subscribe": True, "listChanged": True}
    assert capabilities["tools"] == {"listChanged": True}
    assert capabilities["prompts"] == {"listChanged": True}


@on_mount
async def test_subscribers_are_told_once(connect: OpenClient) -> None:
    client, other = await connect(), await connect()
    await client.ask(request("resources/subscribe", {"uri": "note://1"}))
    first, second = await client.get(), await client.get()
    bystander = await other.get()
    assert await asend_resource_updated("note://1") == 1
    assert await asend_resource_updated("note://2") == 0
    message = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "note://1"}}
    assert await second.next_message() == message
    await client.delete()
    await other.delete()
    assert await first.messages() == await second.messages() == await bystander.messages() == []


# Questions to the client


async def test_an_edit_that_waits_for_the_user_holds_up_no_reader(connect: OpenClient) -> None:
    client = await connect()
    asking = await client.post(call("ask_while_editing", id="e"))
    question = await asking.next_message()
    for _ in range(20):
        assert (await client.ask(call("look")))["result"]["structuredContent"] == {"result": []}
    await client.reply(question["id"], {"action": "accept", "content": {"name": "somebody"}})
    assert text_of(await asking.next_message()) == "somebody"
    assert (await client.ask(call("look")))["result"]["structuredContent"] == {"result": ["asked"]}


@pytest.mark.parametrize("version", VERSIONS[2:])
@pytest.mark.parametrize(
    "answer",
    [
        {"action": "accept", "content": {"name": "Ada ä\u2028"}},
        {"action": "decline"},
        {"action": "cancel"},
    ],
    ids=lambda answer: answer["action"],
)
async def test_elicitation(connect: OpenClient, version: str, answer: dict[str, Any]) -> None:
    client = await connect(version=version)
    response = await client.post(call("elicit", {"message": "who?"}, id="e"))
    question = await response.next_message()
    assert question["method"] == "elicitation/create"
    assert question["params"]["message"] == "who?"
    assert isinstance(question["id"], str) and not question["id"].isdigit()
    await client.reply(question["id"], answer)
    (result,) = await response.messages()
    assert json.loads(text_of(result)) == {"action": answer["action"], "content": answer.get("content")}


async def test_what_the_client_did_not_declare_is_not_asked(connect: OpenClient) -> None:
    client = await connect(capabilities={})
    response = await client.post(call("elicit", {"message": "who?"}))
    assert not response.is_stream
    assert "did not declare 'elicitation'" in json.dumps(await response.json())


@streaming
async def test_sampling_roots_and_ping(connect: OpenClient) -> None:
    client = await connect()
    sampled = {"role": "assistant", "content": {"type": "text", "text": "hm"}, "model": "m"}
    asked: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
        "sample": ({"prompt": "?"}, "sampling/createMessage", sampled),
        "roots": ({}, "roots/list", {"roots": [{"uri": "file:///a"}]}),
        "ping_client": ({}, "ping", {}),
    }
    for tool, (arguments, method, answer) in asked.items():
        response = await client.post(call(tool, arguments))
        question = await response.next_message()
        assert question["method"] == method
        await client.reply(question["id"], answer)
        (result,) = await response.messages()
        assert text_of(result) in ("hm", "file:///a", "pong")


async def test_the_client_may_answer_by_an_error(connect: OpenClient) -> None:
    client = await connect()
    response = await client.post(call("elicit", {"message": "who?"}))
    question = await response.next_message()
    await client.reply_error(question["id"], -1, "nobody is here")
    (result,) = await response.messages()
    assert "nobody is here" in json.dumps(result)
    assert "error" in result or result["result"]["isError"]


async def test_an_answer_that_is_none_fails_the_call_alone(connect: OpenClient) -> None:
    client = await connect()
    for answer in ({}, {"action": "maybe"}, {"action": "accept", "content": [1]}):
        response = await client.post(call("elicit", {"message": "who?"}))
        await client.reply((await response.next_message())["id"], answer)
        (result,) = await response.messages()
        assert "error" in result or result["result"]["isError"], answer
    assert await client.status() == 200


async def test_answers_that_nobody_waits_for_are_harmless(connect: OpenClient) -> None:
    client, other = await connect(), await connect()
    response = await client.post(call("elicit", {"message": "who?"}))
    question = await response.next_message()
    # Another session's answer, an unknown id, and a second answer.
    await other.reply(question["id"], {"action": "accept", "content": {"name": "Eve"}})
    for unknown in ("ask-0", "", 0, 1, -1, 2**70, "\x00"):
        await client.reply(unknown, {})
        await client.reply_error(unknown, -1, "no")
    await client.reply(question["id"], {"action": "decline"})
    await client.reply(question["id"], {"action": "cancel"})
    (result,) = await response.messages()
    assert json.loads(text_of(result))["action"] == "decline"
    await client.reply(question["id"], {"action": "cancel"})


async def test_two_calls_ask_at_once(connect: OpenClient) -> None:
    client = await connect()
    responses = {name: await client.post(call("elicit", {"message": name}, id=name)) for name in "ab"}
    questions = {name: await response.next_message() for name, response in responses.items()}
    assert questions["a"]["id"] != questions["b"]["id"]
    for name in "ba":
        await client.reply(questions[name]["id"], {"action": "accept", "content": {"name": name}})
    for name, response in responses.items():
        (result,) = await response.messages()
        assert result["id"] == name
        assert json.loads(text_of(result))["content"] == {"name": name}


async def test_a_question_that_is_not_answered_fails(connect: OpenClient, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "CLIENT_REPLY_SECONDS": 0.05}
    client = await connect()
    response = await client.post(call("elicit", {"message": "who?"}))
    question, withdrawn, result = await response.messages()
    assert withdrawn["params"]["requestId"] == question["id"]
    assert "did not answer" in json.dumps(result)


@pytest.mark.parametrize("fails", [False, True])
async def test_the_client_may_report_progress(connect: OpenClient, gate: str, fails: bool) -> None:
    client = await connect()
    response = await client.post(call("sample_with_progress", {"gate": gate, "fails": fails}))
    question = await response.next_message()
    token = question["params"]["_meta"]["progressToken"]
    for wrong in (
        {"progressToken": "?", "progress": 1},
        {"progressToken": token},
        {"progressToken": token, "progress": "1"},
    ):
        await client.notify("notifications/progress", wrong)
    await client.notify(
        "notifications/progress", {"progressToken": token, "progress": 1, "total": 2, "message": "on it"}
    )
    await gates[gate].wait()
    assert gates[gate].log[0] == "1 of 2: on it"
    await client.reply(
        question["id"], {"role": "assistant", "content": {"type": "text", "text": "hm"}, "model": "m"}
    )
    (result,) = await response.messages()
    assert text_of(result) == "hm"


@under_wsgi
async def test_under_wsgi_a_question_is_a_clear_error(connect: OpenClient) -> None:
    client = await connect()
    for tool, arguments in (
        ("elicit", {"message": "?"}),
        ("sample", {"prompt": "?"}),
        ("roots", {}),
        ("ping_client", {}),
    ):
        answer = await client.ask(call(tool, arguments))
        assert "back-channel" in json.dumps(answer), answer
        assert "error" in answer or answer["result"]["isError"]
    assert await rows() == {"Session": 1, "Stream": 0, "StreamEvent": 0, "Subscription": 0}


@under_wsgi
async def test_under_wsgi_a_call_is_json_however_long_it_takes(connect: OpenClient, gate: str) -> None:
    client = await connect(path="/soon")
    posted = client.posting(call("slow", {"gate": gate}))
    await gates[gate].reached()
    progress = await client.post(call("progress", {"steps": 3}, token=1))
    assert text_of(await progress.json()) == "done"
    gates[gate].open()
    assert text_of(await (await posted).json()) == "done"
