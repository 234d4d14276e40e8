"""Every worker serves every session: what one has been told, the other knows at once."""

from __future__ import annotations

import asyncio

from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import Workers, every_mode
from tests.e2e.workers.reading import messages, rest
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.wire import LATEST_HANDSHAKE, RawSession, answer

AT_ONCE = 20


@every_mode
def test_the_request_after_initialize_goes_elsewhere(workers: Workers) -> None:
    async def scenario() -> None:
        for one, other in (workers, workers[::-1]):
            session = RawSession(one.url)
            hello = {
                "protocolVersion": LATEST_HANDSHAKE,
                "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            }
            async with session.post(session.message("initialize", hello)) as response:
                await answer(response)
                session.session_id = response.headers["mcp-session-id"]
            elsewhere = through(session, other)
            await elsewhere.notify("notifications/initialized")
            told = (await elsewhere.call("echo", {"text": "hello"}))["result"]["structuredContent"]
            assert told == {"text": "hello", "pid": other.pid}

    run(scenario())


def test_calls_at_once_are_answered_each_with_its_own(workers: Workers) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        both = [session, through(session, workers[1])]

        async def call(n: int) -> int:
            at = both[n % 2]
            message = at.tool_call("echo", {"text": f"text {n}"})
            async with at.post(message) as response:
                told = await answer(response)
            assert told["id"] == message["id"]
            assert told["result"]["structuredContent"]["text"] == f"text {n}"
            return int(told["result"]["structuredContent"]["pid"])

        pids = await asyncio.gather(*(call(n) for n in range(AT_ONCE)))
        assert pids == [workers[n % 2].pid for n in range(AT_ONCE)]

    run(scenario())


def test_edits_on_both_workers_keep_all(workers: Workers) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        both = [session, through(session, workers[1])]
        await asyncio.gather(*(both[n % 2].call("add", {"item": f"{n}"}) for n in range(AT_ONCE)))
        kept = [(await at.call("basket"))["result"]["structuredContent"]["result"] for at in both]
        assert kept[0] == kept[1] and sorted(kept[0]) == sorted(str(n) for n in range(AT_ONCE))

    run(scenario())


def test_what_the_client_has_set_holds_elsewhere(workers: Workers) -> None:
    async def scenario() -> None:
        session = await RawSession.open(workers[0].url)
        elsewhere = through(session, workers[1])
        async with session.post(session.message("logging/setLevel", {"level": "error"})) as response:
            assert "result" in await answer(response)
        async with elsewhere.post(elsewhere.tool_call("log", {"levels": ["info", "error"]})) as response:
            said = messages(await rest(response))
        assert [message["params"]["data"] for message in said[:-1]] == ["error"]

    run(scenario())


def test_a_session_that_was_opened_by_the_guide_is_filled_elsewhere(workers: Workers) -> None:
    async def scenario() -> None:
        one, other = workers
        async with guide_session(one) as guide:
            session = RawSession(other.url, guide.session_id)
            hello = {
                "protocolVersion": LATEST_HANDSHAKE,
                "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"},
            }
            async with session.post(session.message("initialize", hello)) as response:
                assert response.status == 200 and "mcp-session-id" not in response.headers
                assert "result" in await answer(response)
            back = await through(session, one).call("echo", {"text": "hello"})
            assert back["result"]["structuredContent"] == {"text": "hello", "pid": one.pid}

    run(scenario())


def test_a_deleted_session_is_unknown_elsewhere_at_once(workers: Workers) -> None:
    async def scenario() -> None:
        for one, other in (workers, workers[::-1]):
            session = await RawSession.open(one.url)
            elsewhere = through(session, other)
            assert await elsewhere.status_of_ping() == 200
            assert await session.delete() == 204
            assert await elsewhere.status_of_ping() == 404
            async with elsewhere.get() as response:
                await response.body()
                assert response.status == 404
            assert await elsewhere.delete() == 404

    run(scenario())
