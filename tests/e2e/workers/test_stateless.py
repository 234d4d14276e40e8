"""2026-07-28 with two workers: what has no session still reaches, and is finished at, any of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from tests.e2e.workers.conftest import StartCluster, Workers, both_at
from tests.e2e.workers.reading import next_message
from tests.e2e.workers.senders import Sender, update
from tests.e2e.workers.subscribing import new_uri, next_updated, subscribe
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
