"""What a client can make us keep: each bound is hit, refused in words, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest
from django.core.asgi import get_asgi_application
from django.db.models import QuerySet
from django.utils import timezone

from mcp_sessions.delivery.calls import Calls
from mcp_sessions.delivery.pending_requests import PROGRESS
from mcp_sessions.models import PendingRequest, Stream, StreamEvent
from mcp_sessions.protocol.bounds import REASON
from mcp_sessions.routing import mount
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store
from mcp_sessions.throttling.streams import OpenStreams
from tests.doors.client import JSON_POST, McpClient, call, initialize, notification, request, text_of
from tests.doors.conftest import OpenClient, either_loop, every_door, on_mount
from tests.doors.doors import AsgiDoor, Door, pairs
from tests.doors.test_modern import modern
from tests.doors.test_modern import post as post_modern
from tests.doors.test_outcomes import endpoint_of
from tests.process import in_thread, only_session, rows
from tests.servers import DEADLINE, gates

Settings = Any

INVALID, PARAMS = -32600, -32602


def bound(settings: Settings, **options: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}


@on_mount
async def test_who_says_too_much_of_itself_opens_no_session(door: Door, settings: Settings) -> None:
    bound(settings, MAX_CLIENT_BYTES=1000)
    hello = initialize()
    hello["params"]["clientInfo"]["title"] = "x" * 1000
    response = await McpClient(door).post(hello)
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (200, PARAMS)
    assert error["data"] == {"reason": "client_too_large", "limit": 1000}
    assert "mcp-session-id" not in response.headers
    assert (await rows())["Session"] == 0
    await McpClient(door).open()


@on_mount
async def test_a_session_has_so_many_subscriptions(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_SUBSCRIPTIONS=2)
    client = await connect()
    asked = [("a", None), ("b", None), ("c", PARAMS), ("a", None)]
    for uri, code in asked:
        answer = await client.ask(request("resources/subscribe", {"uri": f"file:///{uri}"}))
        assert answer.get("error", {}).get("code") == code
        if code is not None:
            assert answer["error"]["data"] == {"reason": "subscription_limit", "limit": 2}
    assert (await rows())["Subscription"] == 2
    await client.ask(request("resources/unsubscribe", {"uri": "file:///a"}))
    assert "result" in await client.ask(request("resources/subscribe", {"uri": "file:///c"}))


@on_mount
async def test_a_long_uri_is_not_subscribed_to(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_URI_LENGTH=20)
    client = await connect()
    answer = await client.ask(request("resources/subscribe", {"uri": "file:///" + "x" * 13}))
    assert answer["error"]["code"] == PARAMS
    assert answer["error"]["data"] == {"reason": "uri_length", "limit": 20}
    assert (await rows())["Subscription"] == 0
    assert "result" in await client.ask(request("resources/subscribe", {"uri": "file:///" + "x" * 12}))


@on_mount
@pytest.mark.parametrize(
    "message",
    [
        request("ping", id="x" * 65),
        request("ping", id=10**64),
        request("x" * 65),
        {"jsonrpc": "2.0", "method": "x" * 65},
        call("echo", {"text": "a"}, token="x" * 65),
        call("echo", {"text": "a"}, token=10**64),
    ],
)
async def test_long_names_are_refused(connect: OpenClient, settings: Settings, message: Any) -> None:
    bound(settings, MAX_ID_LENGTH=64)
    client = await connect()
    before = await rows()
    response = await client.post(message)
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (400, INVALID)
    assert "at most 64 characters" in error["message"]
    assert await rows() == before


@on_mount
async def test_as_long_as_may_be(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_ID_LENGTH=64)
    client = await connect()
    assert await client.call("echo", {"text": "a"}, id="x" * 64, token="y" * 64) == "a"


@on_mount
async def test_the_reason_of_a_cancellation_is_cut(connect: OpenClient, gate: str) -> None:
    client = await connect()
    posted = client.posting(call("slow", {"gate": gate}))
    await gates[gate].reached()
    await client.cancel(1, "x" * 100_000)
    message = (await (await posted).json())["error"]["message"]
    assert message.count("x") == REASON


async def kept(alias: str = "default") -> dict[str, int]:
    """How many messages the inboxes have, and how many requests are pending."""

    def count() -> dict[str, int]:
        return {"messages": in_inboxes(alias).count(), "pending": PendingRequest.objects.using(alias).count()}

    return await in_thread(count)


def in_inboxes(alias: str = "default") -> QuerySet[StreamEvent]:
    return StreamEvent.objects.using(alias).filter(stream__kind="inbox")


async def until_kept(**counts: int) -> None:
    """Wait until so many are kept; a test fails that waits in vain."""
    async with asyncio.timeout(DEADLINE):
        while not counts.items() <= (await kept()).items():
            await asyncio.sleep(0.01)


NOTHING = {"messages": 0, "pending": 0}


@on_mount
async def test_what_nobody_asked_for_or_waits_for_is_not_stored(connect: OpenClient) -> None:
    client = await connect()
    for number in range(20):
        name = f"ask-{number:016x}"
        await client.reply(name, {"text": "x" * 1000})
        await client.reply_error(name, 1, "x" * 1000)
        await client.notify("notifications/progress", {"progressToken": name, "progress": 1, "message": "x"})
        await client.cancel(number, "x" * 1000)
    assert await kept() == NOTHING


@on_mount
async def test_an_answer_is_kept_for_who_waits_elsewhere_and_no_longer(connect: OpenClient) -> None:
    client = await connect()
    session = await only_session()
    until = timezone.now() + timedelta(hours=1)
    name = "ask-00000000000000aa"
    assert await get_store().aadd_request(session.key, name, until, 1)
    for number in range(5):
        progress = {"progressToken": name, "progress": number, "message": "x" * 5000, "more": "x" * 5000}
        await client.notify("notifications/progress", progress)
    told = await in_thread(lambda: list(in_inboxes().values_list("data", flat=True)))
    assert len(told) == 1 and len(told[0]) < PROGRESS + 200
    for text in ("first", "second"):
        await client.reply(name, {"text": text})
    told = await in_thread(lambda: list(in_inboxes().values_list("data", flat=True)))
    assert [json.loads(each)["answer"]["result"] for each in told] == [{"text": "first"}]
    await get_store().adrop_request(session.key, name)
    assert await kept() == NOTHING


async def test_a_question_that_was_answered_leaves_nothing(connect: OpenClient) -> None:
    client = await connect()
    response = await client.post(call("elicit", {"message": "who?"}))
    question = await response.next_message()
    assert await kept() == {"messages": 0, "pending": 1}
    await client.reply(question["id"], {"action": "decline"})
    await response.messages()
    await until_kept(**NOTHING)


@on_mount
async def test_a_client_is_asked_so_much_at_once(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_REQUESTS_TO_CLIENT=1)
    client = await connect()
    waiting = await client.post(call("elicit", {"message": "who?"}))
    question = await waiting.next_message()
    refused = json.dumps(await client.ask(call("elicit", {"message": "who?"}, id=2)))
    assert "has not answered 1 other requests" in refused
    await client.reply(question["id"], {"action": "decline"})
    await waiting.messages()
    await until_kept(**NOTHING)
    again = await client.post(call("elicit", {"message": "who?"}, id=3))
    assert (await again.next_message())["method"] == "elicitation/create"


@on_mount
async def test_an_answer_that_is_too_large_is_refused(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_CLIENT_REPLY_BYTES=1000)
    client = await connect()
    response = await client.post(call("elicit", {"message": "who?"}))
    question = await response.next_message()
    answer = {
        "jsonrpc": "2.0",
        "id": question["id"],
        "result": {"action": "accept", "content": {"name": "x" * 1000}},
    }
    refused = await client.post(answer)
    assert refused.status == 413
    assert "at most 1000 bytes" in (await refused.json())["error"]["message"]
    await client.reply(question["id"], {"action": "decline"})
    (result,) = await response.messages()
    assert json.loads(text_of(result))["action"] == "decline"


@either_loop
async def test_a_long_call_without_a_stream_can_be_cancelled_from_elsewhere(
    connect: OpenClient, gate: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.protocol.post.KNOWN_SECONDS", 0.01)
    bound(settings, STREAM_AFTER_SECONDS=600)
    client = await connect()
    posted = client.posting(call("slow", {"gate": gate}))
    await until_kept(pending=1)
    # As at another process, which has no such call.
    monkeypatch.setattr(Calls, "cancel_here", lambda *_: False)
    for _ in range(3):
        await client.cancel(1)
    assert (await kept())["messages"] == 1
    monkeypatch.undo()
    gates[gate].open()
    assert (await posted).status == 200
    await until_kept(**NOTHING)


@on_mount
async def test_of_streams_that_were_left_the_oldest_go(connect: OpenClient, settings: Settings) -> None:
    bound(settings, MAX_LEFT_STREAMS=2)
    client = await connect()
    places = []
    for _ in range(6):
        stream = await client.get()
        places.append((await stream.next_event()).id)
        await stream.disconnect()
        while await in_thread(lambda: Stream.objects.exclude(reader="").exists()):
            await asyncio.sleep(0.01)
    assert (await rows())["Stream"] == 3
    gone = await client.get(places[0])
    assert (gone.status, (await gone.json())["error"]["data"]) == (400, {"reason": "event_not_found"})
    back = await client.get(places[-1])
    assert back.status == 200


@either_loop
@pytest.mark.parametrize("is_batch", [False, True])
async def test_a_session_runs_so_many_calls(
    connect: OpenClient, gate: str, settings: Settings, is_batch: bool
) -> None:
    bound(settings, MAX_CALLS_PER_SESSION=2 if is_batch else 1)
    client, other = await connect(version="2025-03-26"), await connect()
    running = client.posting(call("slow", {"gate": gate}, id=1))
    await gates[gate].reached()
    pings = [request("ping", id=3), request("ping", id=4)]
    refused = await client.post(pings if is_batch else pings[0])
    error = (await refused.json())["error"]
    assert (refused.status, error["data"]["reason"]) == (429, "call_limit")
    assert int(refused.headers["retry-after"]) > 0
    # What is no request is taken, and others are served.
    await client.cancel(7)
    assert await other.status() == 200
    gates[gate].open()
    assert (await running).status == 200
    # A call is over a moment after it was answered.
    while await client.status() != 200:
        await asyncio.sleep(0.01)


@on_mount
async def test_calls_that_come_at_once_are_counted_at_once(door: Door, gate: str, settings: Settings) -> None:
    """A client of 2024-11-05 is answered before its call runs, and until then a row is written."""
    bound(settings, MAX_CALLS_PER_SESSION=2)
    client = McpClient(door, version="2024-11-05")
    stream = await client.get()
    client.path = await endpoint_of(stream)
    posts = [client.posting(call("slow", {"gate": gate}, id=each)) for each in range(6)]
    assert sorted([(await each).status for each in posts]) == [202] * 2 + [429] * 4
    gates[gate].open()
    assert {(await stream.next_message())["id"] for _ in range(2)} <= set(range(6))
    await stream.disconnect()


@on_mount
async def test_calls_behind_a_notification_are_counted_at_once(
    connect: OpenClient, gate: str, settings: Settings
) -> None:
    bound(settings, MAX_CALLS_PER_SESSION=2)
    client = await connect(version="2025-03-26")
    cancelled = notification("notifications/cancelled", {"requestId": "none"})
    posts = [client.posting([cancelled, call("slow", {"gate": gate}, id=each)]) for each in range(6)]
    for refused in islice(asyncio.as_completed(posts), 4):
        assert (await refused).status == 429
    gates[gate].open()
    assert sorted([(await each).status for each in posts]) == [200] * 2 + [429] * 4


async def test_a_batch_that_is_never_served_is_not_to_come_back(
    connect: OpenClient, settings: Settings
) -> None:
    bound(settings, MAX_CALLS_PER_SESSION=2)
    client = await connect(version="2025-03-26")
    refused = await client.post([request("ping", id=each) for each in range(3)])
    assert (refused.status, (await refused.json())["error"]["data"]["reason"]) == (400, "call_limit")
    assert "retry-after" not in refused.headers
    assert (await client.post([request("ping", id=each) for each in range(2)])).status == 200


# -- what does not arrive, and what comes too often ------------------------------------------


@pytest.mark.parametrize("through_django", [False, True])
@on_mount
async def test_a_body_that_does_not_arrive_in_time_is_408(
    door: Door, settings: Settings, through_django: bool
) -> None:
    assert isinstance(door, AsgiDoor)
    bound(settings, BODY_SECONDS=0.05, POST_THROUGH_DJANGO=through_django)
    response = await (await door.start("POST", "/mcp", pairs(JSON_POST), [b"{", b'"jsonrpc"'], is_cut=True))
    message = await response.json()
    assert (response.status, message["error"]["message"]) == (
        *(408, "The body did not arrive within 0.05 seconds."),
    )
    assert response.headers["connection"] == "close", "or the server waits for the rest"


async def test_through_django_a_body_comes_whole(process: None, settings: Settings) -> None:
    """The mount has read it by then."""
    bound(settings, POST_THROUGH_DJANGO=True)
    django: Any = get_asgi_application()
    door = AsgiDoor(mount(django), has_get=True)
    body = json.dumps(initialize()).encode()
    response = await (await door.start("POST", "/mcp", pairs(JSON_POST), [body[:20], body[20:]]))
    assert (response.status, (await response.json())["id"]) == (200, 0)
    await door.close()


@on_mount
async def test_nobody_waits_for_the_body_of_a_get(door: Door, connect: OpenClient) -> None:
    assert isinstance(door, AsgiDoor)
    client = await connect()
    headers = {"Accept": "text/event-stream", "Mcp-Session-Id": client.session_id}
    response = await (await door.start("GET", "/mcp", pairs(headers), [b"{"], is_cut=True))
    assert (response.status, response.is_stream) == (200, True)
    await response.disconnect()


@every_door
async def test_headers_have_so_many_bytes(door: Door, settings: Settings) -> None:
    bound(settings, MAX_HEADER_BYTES=5000)
    client = await McpClient(door).open()
    assert (await client.post(request("ping"), {"X-Long": "x" * 4000})).status == 200
    for headers, path in (({"X-Long": "x" * 5000}, "/mcp"), ({}, f"/mcp?{'x' * 5000}")):
        client.path = path
        response = await client.post(request("ping"), headers)
        assert (response.status, (await response.json())["error"]["code"]) == (431, INVALID)


@on_mount
async def test_a_client_has_so_many_streams(door: Door, settings: Settings) -> None:
    bound(settings, MAX_STREAMS_PER_CLIENT=2, TRUSTED_PROXIES=1)
    here, there = ({"X-Forwarded-For": f"192.0.2.{n}"} for n in (1, 2))
    clients = [await McpClient(door, more_headers=dict(here)).open() for _ in range(3)]
    first, second = await clients[0].get(), await clients[1].get()
    refused = await clients[2].get()
    error = (await refused.json())["error"]
    assert (refused.status, error["data"]["scope"]) == (429, "streams")
    assert int(refused.headers["retry-after"]) == 30
    guide = await McpClient(door, more_headers=dict(here)).get()
    retries = [event.retry for event in await guide.events() if event.retry]
    assert (guide.status, retries) == (200, [30_000])
    stranger = await (await McpClient(door, more_headers=dict(there)).open()).get()
    assert stranger.status == 200
    await first.disconnect()
    third = await clients[2].get()
    assert third.status == 200
    for stream in (second, third, stranger):
        await stream.disconnect()
    assert current().service(OpenStreams)._counts == {}


@on_mount
async def test_a_stream_that_was_not_opened_does_not_count(door: Door, settings: Settings) -> None:
    bound(settings, MAX_STREAMS_PER_CLIENT=1)
    client = await McpClient(door).open()
    for _ in range(2):
        assert (await client.get("a.1")).status == 400
        assert (await client.get(Accept="text/html")).status == 406
        await (await client.get(**{"Mcp-Session-Id": "x" * 32})).body()
    stream = await client.get()
    assert stream.status == 200
    await stream.disconnect()


@on_mount
async def test_streams_that_listen_count_among_a_clients(door: Door, settings: Settings) -> None:
    bound(settings, MAX_STREAMS_PER_CLIENT=1)
    listen = modern(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=9))
    first = await post_modern(door, listen)
    assert first.is_stream
    second = await post_modern(door, listen)
    error = (await second.json())["error"]
    assert (second.status, error["data"]["scope"]) == (429, "streams")
    # What asks and is answered is no stream.
    assert (await post_modern(door, modern(request("tools/list")))).status == 200
    await first.disconnect()
    third = await post_modern(door, listen)
    assert third.is_stream
    await third.disconnect()
    assert current().service(OpenStreams)._counts == {}
