"""GET streams, resumption, and clients that leave."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.core.asgi import get_asgi_application
from django.utils import timezone

from mcp_sessions.delivery import Closing, Follower, get_hub
from mcp_sessions.identifiers import digest_of
from mcp_sessions.messages import asend_session_message
from mcp_sessions.models import Stream, StreamEvent
from mcp_sessions.protocol.channel import ReplyChannel
from mcp_sessions.records import Event as StoredEvent
from mcp_sessions.records import Reading, StreamRecord
from mcp_sessions.routing import mount
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store
from mcp_sessions.testing.store_contract.builders import make_session
from tests.doors.client import VERSIONS, McpClient, call, text_of
from tests.doors.conftest import OpenClient, on_mount, streaming
from tests.doors.doors import AsgiDoor, Door, Response, pairs
from tests.harness.sse import Event
from tests.process import eventually, in_thread, on_loop
from tests.servers import DEADLINE, gates


def data_of(messages: list[Any]) -> list[Any]:
    return [message["params"]["data"] for message in messages]


async def read(response: Response, count: int) -> list[Event]:
    """The next messages, with their ids."""
    found: list[Event] = []
    while len(found) < count:
        event = await response.next_event()
        if event.is_message:
            found.append(event)
    return found


def texts(events: list[Event]) -> list[Any]:
    return data_of([event.json() for event in events])


async def rest(response: Response) -> list[Any]:
    """Everything up to the end, which comes by itself."""
    assert response.status == 200, await response.body()
    return await response.messages()


# Clients that leave


@streaming
async def test_a_client_that_leaves_a_stream_has_not_cancelled(connect: OpenClient, gate: str) -> None:
    client = await connect()
    response = await client.post(call("progress", {"steps": 3, "gate": gate}, id="p", token="t"))
    first = await response.next_message()
    assert first["params"]["progress"] == 1
    await response.disconnect()
    gates[gate].open()

    def has_ended() -> bool:
        return Stream.objects.get().ended_at is not None

    async with asyncio.timeout(DEADLINE):
        while not await in_thread(has_ended):
            await asyncio.sleep(0.01)
    kept = await in_thread(
        lambda: list(StreamEvent.objects.order_by("position").values_list("data", flat=True))
    )
    assert [json.loads(each)["params"]["progress"] for each in kept[:-1]] == [1, 2, 3]
    assert text_of(json.loads(kept[-1])) == "done"
    assert gates[gate].log == ["finished"]


async def nobody_reads(but: int = 0) -> None:
    async def count_followers() -> int:
        return len(get_hub().connections)

    async with asyncio.timeout(DEADLINE):
        while await on_loop(current(), count_followers()) > but:
            await asyncio.sleep(0.01)


@streaming
async def test_nobody_is_left_reading_for_a_client_that_left(connect: OpenClient, gate: str) -> None:
    client = await connect()
    response = await client.post(call("progress", {"steps": 2, "gate": gate}, token=1))
    await response.next_message()
    await response.disconnect()
    await nobody_reads()


@streaming
async def test_nobody_is_left_reading_for_a_client_that_took_nothing(connect: OpenClient, gate: str) -> None:
    client = await connect()
    assert isinstance(client.door, AsgiDoor)
    headers = {"Mcp-Session-Id": client.session_id, "Content-Type": "application/json"}
    body = json.dumps(call("progress", {"steps": 2, "gate": gate}, token=1)).encode()
    await (await client.door.start("POST", "/mcp", pairs(headers), [body], takes_nothing=True))
    await client.door.finished()
    await nobody_reads()


@streaming
async def test_a_client_that_leaves_before_the_answer_has_not_cancelled(
    connect: OpenClient, gate: str
) -> None:
    client = await connect()
    assert isinstance(client.door, AsgiDoor)
    headers = {"Mcp-Session-Id": client.session_id, "Content-Type": "application/json"}
    body = json.dumps(call("slow", {"gate": gate})).encode()
    started = await client.door.start("POST", "/mcp", pairs(headers), [body])
    await gates[gate].reached()
    client.door.leave_all()
    gates[gate].open()
    await client.door.finished()
    started.cancel()
    await eventually(lambda: gates[gate].log)
    assert gates[gate].log == ["finished"]
    assert await client.status() == 200


@streaming
async def test_a_client_that_leaves_within_its_body_is_no_failure(connect: OpenClient, caplog: Any) -> None:
    client = await connect()
    assert isinstance(client.door, AsgiDoor)
    headers = {"Mcp-Session-Id": client.session_id, "Content-Type": "application/json"}
    started = await client.door.start("POST", "/mcp", pairs(headers), [b'{"jsonrpc": "2.0",'], is_cut=True)
    client.door.leave_all()
    await client.door.finished()
    started.cancel()
    assert await client.status() == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


# Resumption


@on_mount
@pytest.mark.parametrize("seen", [0, 1, 2, 3, 4])
async def test_what_was_missed_comes_once_and_in_order(connect: OpenClient, gate: str, seen: int) -> None:
    client = await connect()
    response = await client.post(call("progress", {"steps": 4, "gate": gate}, id="p", token="t"))
    priming = await response.next_event()
    assert priming.is_priming
    before = await read(response, 1) if seen else []
    if seen <= 1:
        await response.disconnect()
    gates[gate].open()
    if seen > 1:
        before += await read(response, seen - 1)
        await response.disconnect()
    last = before[-1].id if before else priming.id
    for _ in range(2):  # the client may lose the second connection as well
        resumed = await client.get(last)
        assert resumed.headers["content-type"] == "text/event-stream"
        events = await resumed.events()
        assert not {event.id for event in events} & {event.id for event in before}
        messages = [event.json() for event in events if event.is_message]
        assert [message["params"]["progress"] for message in messages[:-1]] == list(range(seen + 1, 5))
        assert messages[-1]["id"] == "p" and text_of(messages[-1]) == "done"
    assert await rest(await client.get(events[-1].id)) == []


@on_mount
async def test_a_resumed_stream_goes_on_live(connect: OpenClient, gate: str) -> None:
    client = await connect()
    response = await client.post(call("progress", {"steps": 2, "gate": gate}, token=1))
    priming = await response.next_event()
    await response.disconnect()
    resumed = await client.get(priming.id)
    assert (await resumed.next_message())["params"]["progress"] == 1
    gates[gate].open()
    step, result = await resumed.messages()
    assert step["params"]["progress"] == 2 and text_of(result) == "done"


@on_mount
async def test_a_second_reader_replaces_the_first(connect: OpenClient, gate: str) -> None:
    """A client that comes back before the server has seen it leave: each message on one connection."""
    client = await connect()
    first = await client.post(call("progress", {"steps": 2, "gate": gate}, token=1))
    (seen,) = await read(first, 1)
    second = await client.get(seen.id)
    assert await rest(first) == []
    gates[gate].open()
    assert len(await rest(second)) == 2


@on_mount
async def test_no_two_events_of_a_session_have_the_same_id(connect: OpenClient) -> None:
    client = await connect()
    standalone = await client.get()
    ids = [(await standalone.next_event()).id]
    for number in range(3):
        response = await client.post(call("progress", {"steps": 2}, id=number, token=number))
        ids += [event.id for event in await response.events()]
        await client.call("announce", {"texts": ["a"]})
        ids += [event.id for event in await read(standalone, 1)]
    assert None not in ids and len(set(ids)) == len(ids) == 1 + 3 * 5


@on_mount
async def test_a_place_replays_its_own_stream_only(connect: OpenClient) -> None:
    client = await connect()
    places = {}
    for name in "ab":
        response = await client.post(call("progress", {"steps": 2}, id=name, token=name))
        places[name] = (await response.next_event()).id
        await response.body()
    await client.call("announce", {"texts": ["standalone"]})
    for name, place in places.items():
        *steps, result = await rest(await client.get(place))
        assert {step["params"]["progressToken"] for step in steps} == {name}
        assert result["id"] == name


@on_mount
async def test_a_place_that_is_not_the_sessions_is_refused(connect: OpenClient) -> None:
    client, other = await connect(), await connect()
    response = await other.post(call("progress", {"steps": 1}, token=1))
    foreign = [event.id for event in await response.events()]
    own = [event.id for event in await (await client.post(call("progress", {"steps": 1}, token=1))).events()]
    assert own[-1] is not None
    stream, position = own[-1].split(".")
    beyond = f"{stream}.{int(position) + 1}"
    for place in (
        *foreign,
        beyond,
        f"{stream}.{10**17}",
        "0123456789abcdef.0",
        "nonsense",
        "a.b",
        ".1",
        "-1",
    ):
        response = await client.get(place)
        message = await response.json()
        assert response.status == 400, place
        assert message["error"]["data"] == {"reason": "event_not_found"}
    # Nobody's session, and no session at all.
    for session_id, status in (("A" * 32, 404), (None, 400)):
        assert (await client.get(own[0], **{"Mcp-Session-Id": session_id})).status == status
    assert len(await rest(await client.get(own[0]))) == 2


@on_mount
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_tool_may_have_its_client_come_back(connect: OpenClient, gate: str, version: str) -> None:
    client = await connect(version=version)
    posted = client.posting(call("poll", {"gate": gate}))
    await gates[gate].reached()
    if version < "2025-11-25":
        # Such a client was given no place to come back to.
        gates[gate].open()
        assert text_of(await (await posted).json()) == "worth the wait"
        return
    priming, retry = await (await posted).events()
    assert priming.is_priming and retry.retry == 1000 and retry.data is None
    resumed = await client.get(priming.id)
    gates[gate].open()
    (result,) = await rest(resumed)
    assert text_of(result) == "worth the wait"


async def until_ended() -> None:
    """Wait until the one stream there is has ended and everything in this process knows."""

    def has_ended() -> bool:
        return Stream.objects.get().ended_at is not None

    async with asyncio.timeout(DEADLINE):
        while not await in_thread(has_ended) or get_hub().calls:
            await asyncio.sleep(0.01)


@on_mount
async def test_a_stream_that_ended_before_it_was_found_ends(connect: OpenClient) -> None:
    """The POST's own connection may be slower than its call."""
    client = await connect()
    become_stream = ReplyChannel.become_stream

    async def late(channel: ReplyChannel) -> StreamRecord:
        stream = await become_stream(channel)
        task = asyncio.current_task()
        if task is not None and "call:" not in task.get_name():
            await until_ended()
        return stream

    with mock.patch.object(ReplyChannel, "become_stream", late):
        response = await client.post(call("progress", {"steps": 2}, token=1))
        assert len(await response.messages()) == 3


@on_mount
async def test_a_stream_that_ends_while_its_client_comes_back_ends(connect: OpenClient, gate: str) -> None:
    client = await connect()
    response = await client.post(call("progress", {"steps": 2, "gate": gate}, token=1))
    priming = await response.next_event()
    await gates[gate].reached()
    await response.disconnect()
    attach = get_store().aattach

    async def late(*arguments: Any, **how: Any) -> Any:
        attached = await attach(*arguments, **how)
        gates[gate].open()
        await until_ended()
        return attached

    with mock.patch.object(get_store(), "aattach", late):
        resumed = await client.get(priming.id)
        assert len(await resumed.messages()) == 3


async def test_what_is_offered_while_the_store_is_read_is_not_overlooked() -> None:
    """A read that began before an event was stored may end after it was offered."""
    is_reading, may_return = asyncio.Event(), asyncio.Event()

    async def read_nothing(*_: Any) -> Reading:
        is_reading.set()
        await may_return.wait()
        return Reading(())

    follower = Follower(StreamRecord("s", "k", "post"), 0, make_session(key="k"), lambda _: None)

    async def read_all() -> list[Any]:
        return [item async for item in follower.items()]

    with mock.patch.object(get_store(), "aread", read_nothing):
        reading = asyncio.create_task(read_all())
        await asyncio.wait_for(is_reading.wait(), DEADLINE)
        event = StoredEvent(1, "message", "{}")
        follower.offer([event])
        follower.end_at(1)
        may_return.set()
        assert await asyncio.wait_for(reading, DEADLINE) == [event]


async def test_a_stream_is_not_read_on_behind_what_was_deleted() -> None:
    """The client is told to come back, and then that its place is gone: nothing is skipped."""

    async def read_what_is_left(*_: Any, **__: Any) -> Reading:
        return Reading((StoredEvent(9, "message", "{}"),), trimmed=8)

    with mock.patch.object(get_store(), "aread", read_what_is_left):
        follower = Follower(StreamRecord("s", "k", "get"), 7, make_session(key="k"), lambda _: None)
        assert [item async for item in follower.items()] == []
        assert follower.closing is Closing.TRIMMED
        follower = Follower(StreamRecord("s", "k", "get"), 8, make_session(key="k"), lambda _: None)
        assert await anext(follower.items()) == StoredEvent(9, "message", "{}")


@on_mount
async def test_a_place_whose_continuation_was_deleted_is_refused(connect: OpenClient, gate: str) -> None:
    client = await connect()
    gates[gate].open()
    response = await client.post(call("progress", {"steps": 4, "gate": gate}, id="p", token="t"))
    events = [event for event in await response.events() if event.id]
    name = (events[0].id or "").partition(".")[0]
    before = timezone.now() - timedelta(hours=1)
    # Read again up to its end, since what was sent does not count as read.
    assert await rest(await client.get(events[-1].id)) == []
    assert await get_store().atrim([name], 2, before) == 3
    for event in events[:3]:
        refused = await client.get(event.id)
        assert refused.status == 400
        assert json.loads(await refused.body())["error"]["data"] == {"reason": "event_not_found"}
    assert len(await rest(await client.get(events[3].id))) == 2


@on_mount
async def test_a_client_of_the_guide_is_told_that_its_place_is_gone(door: Door) -> None:
    """It has a new stream, and hears that events may be missing. A place that is there says nothing."""
    stream = await McpClient(door).get()
    session_id = (await stream.next_event()).json()["session_id"]
    assert (await stream.next_event()).event == "endpoint"
    session = await get_store().aload(digest_of(session_id))
    assert session is not None
    for text in "abc":
        await asend_session_message(session.key, event="note", data=text)
    notes = [await stream.next_event() for _ in range(3)]
    name = (await in_thread(Stream.objects.get)).name
    before = timezone.now() - timedelta(hours=1)
    assert await get_store().atrim([name], 1, before) == 2

    back = await McpClient(door).get(notes[0].id)
    resumed, told = [await back.next_event() for _ in range(2)]
    assert (resumed.event, told.event) == ("session-resumed", "error")
    assert told.json()["error"] == "event_not_found" and "session_not_found" not in (told.data or "")
    assert told.id == resumed.id
    await asend_session_message(session.key, event="note", data="d")
    assert (await back.next_event()).json() == "d"

    for place in (notes[1].id, told.id):
        back = await McpClient(door).get(place)
        assert [(await back.next_event()).event for _ in range(2)] == ["session-resumed", "note"]


# The standalone stream


@on_mount
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_get_opens_the_standalone_stream(connect: OpenClient, version: str) -> None:
    client = await connect(version=version)
    stream = await client.get()
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-cache, no-transform"
    if version == "2025-11-25":
        assert (await stream.next_event()).is_priming
    assert await client.call("announce", {"texts": ["a", "b"]}) == "announced"
    events = await read(stream, 2)
    assert texts(events) == ["a", "b"]
    assert not any(event.is_priming for event in stream.seen[1:])
    assert len({event.id for event in events}) == 2


@on_mount
async def test_a_message_goes_to_one_stream_and_a_response_to_none(connect: OpenClient) -> None:
    client = await connect()
    streams = [await client.get() for _ in range(3)]
    await client.call("announce", {"texts": ["a"]})
    await client.call("change_tools")
    response = await client.post(call("progress", {"steps": 1}, token=1))
    assert len(await response.messages()) == 2
    messages = await read(streams[-1], 2)
    assert [event.json()["method"] for event in messages] == [
        "notifications/message",
        "notifications/tools/list_changed",
    ]
    await client.delete()
    for stream in streams:
        assert await stream.messages() == []


@on_mount
async def test_messages_wait_for_a_stream_and_come_once(connect: OpenClient) -> None:
    client = await connect()
    await client.call("announce", {"texts": ["a", "b"]})
    await client.call("announce", {"texts": ["c"]})
    first = await client.get()
    assert texts(await read(first, 3)) == ["a", "b", "c"]
    await client.call("announce", {"texts": ["d"]})
    assert texts(await read(first, 1)) == ["d"]
    second = await client.get()
    await client.call("announce", {"texts": ["e"]})
    assert texts(await read(second, 1)) == ["e"]
    await client.delete()
    assert await first.messages() == await second.messages() == []


@on_mount
async def test_what_a_lost_stream_did_not_bring_the_next_one_does(connect: OpenClient) -> None:
    client = await connect()
    first = await client.get()
    await client.call("announce", {"texts": ["a"]})
    assert texts(await read(first, 1)) == ["a"]
    # Only a client that asks for more has surely got what came before.
    await client.call("announce", {"texts": ["b"]})
    (last,) = await read(first, 1)
    await first.disconnect()
    await client.call("announce", {"texts": ["c"]})
    resumed = await client.get(last.id)
    assert texts(await read(resumed, 1)) == ["c"]
    await client.call("announce", {"texts": ["d"]})
    assert texts(await read(resumed, 1)) == ["d"]
    await client.delete()
    assert await resumed.messages() == []


@on_mount
async def test_log_levels_hold_on_the_standalone_stream(connect: OpenClient) -> None:
    client = await connect()
    stream = await client.get()
    await client.ask({"jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": {"level": "error"}})
    await client.call("announce", {"texts": ["too quiet"]})
    await client.delete()
    assert await stream.messages() == []


@on_mount
async def test_the_oldest_stream_gives_way(connect: OpenClient) -> None:
    client = await connect()
    streams = [await client.get() for _ in range(5)]
    for stream in streams[:2]:
        assert all(event.is_priming for event in await stream.events())
    await client.call("announce", {"texts": ["a"]})
    assert texts(await read(streams[-1], 1)) == ["a"]


@on_mount
async def test_the_end_of_the_session_ends_its_get_streams(connect: OpenClient) -> None:
    client, other = await connect(), await connect()
    streams, bystander = [await client.get(), await client.get()], await other.get()
    await client.delete()
    for stream in streams:
        assert await stream.messages() == []
    await other.call("announce", {"texts": ["a"]})
    assert texts(await read(bystander, 1)) == ["a"]


@streaming
async def test_keep_alives(connect: OpenClient, gate: str, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "HEARTBEAT_SECONDS": 0.02}
    client = await connect()
    response = await client.post(call("progress", {"steps": 1, "gate": gate}, token=1))
    await response.next_message()
    asked = asyncio.create_task(response.next_message())
    await eventually(lambda: len([event for event in response.seen if event.is_comment]) >= 3)
    gates[gate].open()
    assert text_of(await asked) == "done"


@on_mount
@pytest.mark.parametrize("resumes", [False, True])
async def test_a_client_that_leaves_while_its_stream_opens_leaves_nobody_reading(
    connect: OpenClient, resumes: bool
) -> None:
    client = await connect()
    assert isinstance(client.door, AsgiDoor)
    place = None
    if resumes:
        stream = await client.get()
        place = (await stream.next_event()).id
        await stream.disconnect()
    is_attached, may_go_on, attach = asyncio.Event(), asyncio.Event(), get_store().aattach

    async def slowly(*arguments: Any, **how: Any) -> Any:
        attached = await attach(*arguments, **how)
        is_attached.set()
        await may_go_on.wait()
        return attached

    with mock.patch.object(get_store(), "aattach", slowly):
        headers = {"Mcp-Session-Id": client.session_id, "Accept": "text/event-stream", "Last-Event-ID": place}
        started = await client.door.start("GET", "/mcp", pairs(headers), [b""])
        await asyncio.wait_for(is_attached.wait(), DEADLINE)
        client.door.leave_all()
        await client.door.finished()
        may_go_on.set()
    started.cancel()
    async with asyncio.timeout(DEADLINE):
        while await in_thread(lambda: Stream.objects.exclude(reader="").exists()):
            await asyncio.sleep(0.01)
    assert not get_hub().connections
    await client.call("announce", {"texts": ["a"]})
    assert texts(await read(await client.get(), 1)) == ["a"]


@on_mount
async def test_a_message_that_is_being_stored_reaches_the_stream_that_opens(connect: OpenClient) -> None:
    client = await connect()
    await (await client.get()).disconnect()
    is_storing, may_store, append = asyncio.Event(), asyncio.Event(), get_store().aappend

    async def slowly(*arguments: Any) -> Any:
        is_storing.set()
        await may_store.wait()
        return await append(*arguments)

    with mock.patch.object(get_store(), "aappend", slowly):
        announcing = asyncio.create_task(client.call("announce", {"texts": ["a"]}))
        await asyncio.wait_for(is_storing.wait(), DEADLINE)
        opening = asyncio.create_task(client.get())
        await eventually(lambda: get_hub().connections)
        # Who is answered finds in the store what was sent before the answer.
        assert not announcing.done()
        may_store.set()
        await announcing
        stream = await opening
        assert texts(await read(stream, 1)) == ["a"]


# The mount's other paths


async def test_posts_may_go_through_django(process: None, settings: Any, gate: str) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "POST_THROUGH_DJANGO": True}
    django: Any = get_asgi_application()
    door = AsgiDoor(mount(django), has_get=True)
    client = await McpClient(door).open()
    standalone = await client.get()
    response = await client.post(call("progress", {"steps": 2, "gate": gate}, token=1))
    # Django's middleware was there, and not for the stream that the mount serves itself.
    assert "x-content-type-options" in response.headers
    assert "x-content-type-options" not in standalone.headers
    priming = await response.next_event()
    await gates[gate].reached()
    await response.disconnect()
    await nobody_reads(but=1)
    gates[gate].open()
    assert len(await rest(await client.get(priming.id))) == 3
    await client.call("announce", {"texts": ["a"]})
    assert texts(await read(standalone, 1)) == ["a"]
    assert (await client.delete()).status == 204
    await door.close()


@on_mount
async def test_everything_else_is_djangos(connect: OpenClient) -> None:
    client = await connect()
    for path in ("/", "/admin/", "/mcp/else", "/mcpx", "/MCP"):
        client.path = path
        for method in ("GET", "POST"):
            response = await client.send(method)
            assert (response.status, await response.body()) == (404, b"Django"), path


@on_mount
async def test_pages_of_allowed_origins_may_call(door: Any) -> None:
    client = McpClient(door, "/origins", more_headers={"Origin": "https://app.example"})
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "mcp-session-id"}
    preflight = await client.send("OPTIONS", headers=asked)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    await client.open()
    response = await client.post(call("echo", {"text": "a"}))
    assert (
        response.headers["access-control-expose-headers"] == "Mcp-Session-Id, Retry-After, WWW-Authenticate"
    )
    client.more_headers["Origin"] = "https://evil.example"
    assert await client.status() == 403
    assert (await client.send("OPTIONS", headers=asked)).status == 400
