"""2026-07-28 with two workers: what has no session still reaches, and is finished at, any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from tests.e2e.workers.conftest import StartCluster, Workers, both_at
from tests.e2e.workers.reading import next_message
from tests.e2e.workers.senders import Sender, update
from tests.e2e.workers.subscribing import new_uri, next_updated, subscribe
from tests.harness.cluster import through
from tests.harness.modern import META, listen, post, result
from tests.harness.running import run
from tests.harness.wire import RawSession, Response, answer

EDITS: Final = 100
SUBSCRIPTION: Final = f"{META}/subscriptionId"


async def acknowledged(response: Response) -> dict[str, Any]:
    """What the server agreed to tell."""
    message = (await next_message(response)).json()
    assert message["method"] == "notifications/subscriptions/acknowledged"
    assert message["params"]["_meta"][SUBSCRIPTION] == "listen"
    return dict(message["params"]["notifications"])


async def next_change(response: Response) -> tuple[str, str | None]:
    """The next change that a listener is told: (method, uri)."""
    message = (await next_message(response)).json()
    assert message["params"]["_meta"][SUBSCRIPTION] == "listen", message
    return message["method"], message["params"].get("uri")


@pytest.mark.parametrize(
    ("backing", "send"),
    [
        *(("postgresql", "command"), ("postgresql", "celery")),
        *(("postgresql+redis", "command"), ("postgresql+redis", "celery")),
        *(("redis", "command"), ("redis", "celery")),
    ],
    indirect=True,
)
@pytest.mark.parametrize("path", ["/stateless", "/stateless-fast"])
def test_a_listener_hears_of_what_another_process_changes(workers: Workers, send: Sender, path: str) -> None:
    a, _ = both_at(path, workers)

    async def scenario() -> None:
        uri, other = new_uri(), new_uri()
        async with listen(a.url, resourceSubscriptions=[uri]) as stream:
            assert await acknowledged(stream) == {"resourceSubscriptions": [uri]}
            await send(update(other, path), update(uri, path))
            assert await next_change(stream) == ("notifications/resources/updated", uri)

    run(scenario())


def test_what_a_tool_notifies_reaches_every_revision_at_every_worker(workers: Workers) -> None:
    a, b = both_at("/stateless", workers)

    async def scenario() -> None:
        uri = new_uri()
        async with AsyncExitStack() as stack:
            session = await RawSession.open(a.url)
            await subscribe(session, uri)
            old = await stack.enter_async_context(session.get())
            here, there = [
                await stack.enter_async_context(
                    listen(each.url, resourceSubscriptions=[uri], toolsListChanged=True)
                )
                for each in (a, b)
            ]
            for stream in (here, there):
                await acknowledged(stream)
            await result(b.url, "tools/call", {"name": "update", "arguments": {"uri": uri}})
            await result(a.url, "tools/call", {"name": "change_tools", "arguments": {}})
            # Nothing orders what two workers publish.
            for stream in (here, there):
                assert {await next_change(stream), await next_change(stream)} == {
                    ("notifications/resources/updated", uri),
                    ("notifications/tools/list_changed", None),
                }
            assert await next_updated(old) == uri
            assert (await next_message(old)).json()["method"] == "notifications/tools/list_changed"
            await session.delete()

    run(scenario())


CHANGES: Final = [
    "notifications/resources/updated",
    *(f"notifications/{each}/list_changed" for each in ("tools", "prompts", "resources")),
]


@pytest.mark.parametrize("path", ["/stateless", "/stateless-fast"])
def test_what_a_tool_sends_to_its_client_reaches_those_that_listen(workers: Workers, path: str) -> None:
    """In either era, at any worker; and the client of an earlier revision gets it once."""
    a, b = both_at(path, workers)
    wanted = {f"{each}ListChanged": True for each in ("tools", "prompts", "resources")}

    async def scenario() -> None:
        uri = new_uri()
        call = {"name": "update_older", "arguments": {"uri": uri}}
        async with AsyncExitStack() as stack:
            session = await RawSession.open(b.url)
            get = await stack.enter_async_context(session.get())
            listening = [
                await stack.enter_async_context(listen(each.url, resourceSubscriptions=[uri], **wanted))
                for each in (a, b)
            ]
            for stream in listening:
                await acknowledged(stream)
            # Of a request of 2026-07-28 nothing of it is on the request's own stream.
            async with post(b.url, "tools/call", call, token="t", capabilities=ASKS) as response:
                done = await answer(response)
            assert done["result"]["content"][0]["text"] == "updated"
            assert not [
                event for event in response.seen if "changed" in event.data or "updated" in event.data
            ][1:]
            for stream in listening:
                assert sorted([(await next_change(stream))[0] for _ in CHANGES]) == sorted(CHANGES)
            heard = [event.json()["method"] for event in await sent_by_call(session, call)]
            while len(heard) < len(CHANGES):
                heard.append((await next_message(get)).json()["method"])
            assert sorted(heard) == sorted(CHANGES)
            for stream in listening:
                assert sorted([(await next_change(stream))[0] for _ in CHANGES]) == sorted(CHANGES)
            # Nothing came twice: the next is what is sent next.
            await result(a.url, "tools/call", {"name": "update_older", "arguments": {"uri": new_uri()}})
            for stream in listening:
                assert await next_change(stream) == ("notifications/tools/list_changed", None)
            await session.delete()

    run(scenario())


async def sent_by_call(session: RawSession, call: Mapping[str, Any]) -> list[Any]:
    """The events of a call's own stream before its answer."""
    async with session.post(session.message("tools/call", call)) as response:
        assert (await answer(response))["result"]["content"][0]["text"] == "updated"
    return [event for event in response.seen if "list_changed" in event.data or "updated" in event.data][:-1]


def test_a_tool_of_fastmcp_asks_through_the_session_of_the_sdk(workers: Workers) -> None:
    a, b = both_at("/stateless-fast", workers)
    call = {"name": "sign", "arguments": {}}

    async def scenario() -> None:
        asked = await result(a.url, "tools/call", call, capabilities=ASKS)
        retry = {**call, **answering(asked, "Ada")}
        done = await result(b.url, "tools/call", retry, id=2, capabilities=ASKS)
        assert done["content"][0]["text"] == "accept Ada"
        session = await RawSession.open(a.url, capabilities={"elicitation": {}})
        async with session.post(session.message("tools/call", call)) as response:
            await response.next_event()
            while (message := (await next_message(response)).json()).get("method") != "elicitation/create":
                pass
            await session.reply(message["id"], accepted("Bob"))
            assert (await answer(response))["result"]["content"][0]["text"] == "accept Bob"
        await session.delete()

    run(scenario())


def test_what_was_asked_at_one_worker_is_answered_at_another(workers: Workers) -> None:
    a, b = both_at("/stateless", workers)
    call = {"name": "greet", "arguments": {}}
    capabilities = {"elicitation": {"form": {}}}

    async def scenario() -> None:
        asked = await result(a.url, "tools/call", call, capabilities=capabilities)
        assert asked["resultType"] == "input_required"
        [key] = asked["inputRequests"]
        answers = {key: {"action": "accept", "content": {"name": "Ada"}}}
        retry = {**call, "inputResponses": answers, "requestState": asked["requestState"]}
        done = await result(b.url, "tools/call", retry, id=2, capabilities=capabilities)
        assert done["content"][0]["text"] == "Hello, Ada!"
        state = asked["requestState"]
        forged = {**retry, "requestState": state[:-2] + ("aa" if state[-2:] != "aa" else "bb")}
        async with post(b.url, "tools/call", forged, id=3, capabilities=capabilities) as response:
            assert (await answer(response))["error"]["code"] == -32602

    run(scenario())


def test_concurrent_edits_of_one_handle_at_two_workers_are_all_kept(workers: Workers) -> None:
    a, b = both_at("/stateless", workers)

    async def scenario() -> None:
        opened = await result(a.url, "tools/call", {"name": "open_session", "arguments": {}})
        arguments = {"session": opened["structuredContent"]["session"]}
        call = {"name": "count", "arguments": arguments}
        urls = [each.url for each in (a, b)] * (EDITS // 2)
        done = await asyncio.gather(*(result(url, "tools/call", call, id=n) for n, url in enumerate(urls)))
        counted = [each["content"][0]["text"] for each in done]
        assert sorted(map(int, counted)) == list(range(1, EDITS + 1))

    run(scenario())


ASKS: Final = {"elicitation": {"form": {}}}


def accepted(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


def answering(asked: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """What a client adds to a request that it repeats."""
    answers = {key: accepted(name) for key, name in zip(sorted(asked["inputRequests"]), names, strict=False)}
    return {"inputResponses": answers, "requestState": asked["requestState"]}


def test_a_tool_asks_as_in_earlier_revisions_and_any_worker_takes_the_answers(workers: Workers) -> None:
    a, b = both_at("/stateless", workers)
    call = {"name": "sign", "arguments": {}}

    async def scenario() -> None:
        asked = await result(a.url, "tools/call", call, capabilities=ASKS)
        [question] = asked["inputRequests"].values()
        assert (question["method"], question["params"]["message"]) == ("elicitation/create", "Who are you?")
        first = {**call, **answering(asked, "Ada")}
        again = await result(b.url, "tools/call", first, id=2, capabilities=ASKS)
        [question] = again["inputRequests"].values()
        assert question["params"]["message"] == "Who else?"
        second = {**call, **answering(again, "Bob")}
        done = await result(a.url, "tools/call", second, id=3, capabilities=ASKS)
        assert done["content"][0]["text"] == "Ada and Bob"

    run(scenario())


def test_what_was_sent_twice_has_the_same_outcome(workers: Workers) -> None:
    """A client that lost its stream sends its request again, to whichever worker."""
    a, b = both_at("/stateless", workers)
    call = {"name": "both", "arguments": {}}

    async def scenario() -> None:
        asked = await result(a.url, "tools/call", call, capabilities=ASKS)
        for _ in range(3):
            retry = {**call, **answering(asked, "Ada", "Ada")}
            done, again = [
                await result(each.url, "tools/call", retry, id=n, capabilities=ASKS)
                for n, each in enumerate((b, a))
            ]
            if done["resultType"] == "complete":
                break
            assert again["inputRequests"] == done["inputRequests"]
            asked = done
        assert done["content"] == again["content"]
        assert done["content"][0]["text"] == "Ada and Ada"

    run(scenario())


def test_what_was_not_answered_is_asked_again(workers: Workers) -> None:
    a, b = both_at("/stateless", workers)
    call = {"name": "sign", "arguments": {}}

    async def scenario() -> None:
        asked = await result(a.url, "tools/call", call, capabilities=ASKS)
        unanswered = {**call, "requestState": asked["requestState"], "inputResponses": {"other": {}}}
        again = await result(b.url, "tools/call", unanswered, id=2, capabilities=ASKS)
        assert again["inputRequests"] == asked["inputRequests"]

    run(scenario())


def test_progress_comes_on_the_stream_of_the_request_that_answers(workers: Workers) -> None:
    a, b = both_at("/stateless", workers)
    call = {"name": "sign", "arguments": {}}

    async def scenario() -> None:
        asked = await result(a.url, "tools/call", call, capabilities=ASKS)
        retry = {**call, **answering(asked, "Ada")}
        async with post(b.url, "tools/call", retry, id=2, capabilities=ASKS, token="t") as response:
            progress = (await next_message(response)).json()
            assert progress["params"] == {"progressToken": "t", "progress": 2, "total": 3}
            assert (await answer(response))["result"]["resultType"] == "input_required"

    run(scenario())


def test_a_state_is_good_for_its_own_request_alone(workers: Workers) -> None:
    a, b = both_at("/stateless", workers)
    call = {"name": "sign", "arguments": {}}

    async def scenario() -> None:
        asked = await result(a.url, "tools/call", call, capabilities=ASKS)
        answers = answering(asked, "Ada")
        state = answers["requestState"]
        others = (
            {**call, "name": "both", **answers},
            {**call, "arguments": {"x": 1}, **answers},
            {**call, **answers, "requestState": f"suspended.{state[10:][::-1]}"},
            {**call, **answers, "requestState": "suspended."},
        )
        for other in others:
            async with post(b.url, "tools/call", other, id=2, capabilities=ASKS) as response:
                assert (await answer(response))["error"]["code"] == -32602, other

    run(scenario())


def test_a_client_that_did_not_declare_it_is_not_asked(workers: Workers) -> None:
    a, _ = both_at("/stateless", workers)

    async def scenario() -> None:
        for capabilities in ({}, {"sampling": {}}):
            call = {"name": "sign", "arguments": {}}
            async with post(a.url, "tools/call", call, capabilities=capabilities) as response:
                assert "inputRequests" not in str(await answer(response))

    run(scenario())


def test_fastmcps_state_is_that_of_the_session_at_every_worker(workers: Workers) -> None:
    a, b = both_at("/stateless-fast", workers)
    names = [f"n{n}" for n in range(20)]

    async def scenario() -> None:
        session = await RawSession.open(a.url)
        there = through(session, b)
        calls = [
            each.message("tools/call", {"name": "remember", "arguments": {"name": name, "value": n}})
            for n, (name, each) in enumerate(zip(names, [session, there] * 10, strict=True))
        ]
        at = [session, there] * 10
        await asyncio.gather(*(said(each, call) for each, call in zip(at, calls, strict=True)))
        recall = there.message("tools/call", {"name": "recall", "arguments": {"names": names}})
        found = (await said(there, recall))["result"]["structuredContent"]["result"]
        assert found == list(range(20))
        await session.delete()

    run(scenario())


def test_fastmcps_own_sessions_are_known_to_every_worker(workers: Workers) -> None:
    a, b = both_at("/stateless-fast", workers)

    async def scenario() -> None:
        opened = await result(a.url, "tools/call", {"name": "create_session", "arguments": {}})
        visit = {"name": "visit", "arguments": {"session_id": opened["content"][0]["text"]}}
        visits = [await result(each.url, "tools/call", visit, id=2) for each in (b, a, b)]
        assert [each["content"][0]["text"] for each in visits] == ["1", "2", "3"]

    run(scenario())


def test_fastmcps_state_lasts_as_long_as_a_request_where_there_is_no_session(workers: Workers) -> None:
    a, _ = both_at("/stateless-fast", workers)

    async def scenario() -> None:
        remember = {"name": "remember", "arguments": {"name": "n", "value": 1}}
        recall = {"name": "recall", "arguments": {"names": ["n", "other"]}}
        for call in (recall, remember, recall):
            found = await result(a.url, "tools/call", call)
            assert not found.get("isError"), found
        assert found["structuredContent"]["result"] == [None, None]

    run(scenario())


def test_fastmcps_own_sessions_work_in_revisions_with_sessions_too(workers: Workers) -> None:
    a, b = both_at("/stateless-fast", workers)

    async def scenario() -> None:
        session = await RawSession.open(a.url)
        opened = await said(session, session.message("tools/call", {"name": "create_session"}))
        visit = {"name": "visit", "arguments": {"session_id": opened["result"]["content"][0]["text"]}}
        visits = [
            await said(each, each.message("tools/call", visit)) for each in (through(session, b), session)
        ]
        assert [each["result"]["content"][0]["text"] for each in visits] == ["1", "2"]
        await session.delete()

    run(scenario())


async def said(session: RawSession, message: Mapping[str, Any]) -> dict[str, Any]:
    async with session.post(message) as response:
        return await answer(response)


@pytest.mark.parametrize("backing", ["postgresql"], indirect=True)
def test_a_client_hears_that_the_worker_of_its_call_was_lost(start_cluster: StartCluster) -> None:
    cluster = start_cluster(2, WORKER_TIMEOUT=6, HEARTBEAT_SECONDS=15)
    a, b = cluster[0].at("/stateless"), cluster[1].at("/stateless")
    call = {"name": "sign", "arguments": {}}

    async def scenario() -> None:
        asked = await result(a.url, "tools/call", call, capabilities=ASKS)
        # Another worker must be at work, to notice.
        await result(b.url, "tools/call", call, id=2, capabilities=ASKS)
        await asyncio.to_thread(cluster[0].kill)
        retry = {**call, **answering(asked, "Ada")}
        reason = "retry"
        # A busy machine may cut the stream too.
        while reason == "retry":
            async with post(b.url, "tools/call", retry, id=3, capabilities=ASKS) as response:
                reason = (await answer(response))["error"]["data"]["reason"]
        assert reason == "worker_lost"

    run(scenario())


@pytest.mark.parametrize("backing", ["sqlite"], indirect=True)
def test_a_listener_is_told_when_its_worker_stops(start_cluster: StartCluster) -> None:
    cluster = start_cluster(1)
    url = cluster[0].at("/stateless").url

    async def scenario() -> None:
        async with listen(url, toolsListChanged=True) as stream:
            await acknowledged(stream)
            stopping = asyncio.create_task(asyncio.to_thread(cluster[0].stop))
            message = (await next_message(stream)).json()
            assert message["id"] == "listen"
            assert message["result"]["resultType"] == "complete"
            assert message["result"]["_meta"][SUBSCRIPTION] == "listen"
        await stopping

    run(scenario())
