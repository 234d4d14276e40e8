"""A session ends on one worker, or in no worker at all, and what is open elsewhere closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from tests.e2e.test_guide_dialect import PING, GuideStream, guide_session, tool_call
from tests.e2e.workers.conftest import Workers, both_at, both_stores, every_mode
from tests.e2e.workers.endpoints import BRIEF_SECONDS
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import messages, next_message, next_named, rest, text_of
from tests.harness.cluster import through
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, answer, request

BOTH: Final = "application/json, text/event-stream"

End = Callable[[ServerProcess, str, str], Awaitable[None]]


async def delete(worker: ServerProcess, session_id: str, _: str) -> None:
    async with request("DELETE", worker.url, {"Mcp-Session-Id": session_id}) as response:
        assert (response.status, await response.body()) == (204, b"")


async def end_by_operator(worker: ServerProcess, _: str, key: str) -> None:
    """In a process that serves nobody."""
    code = f"from mcp_sessions.lifecycle import end_sync; print(end_sync({key!r}, 'operator'))"
    assert await asyncio.to_thread(worker.manage, "shell", "-v0", "-c", code) == "True\n"


ENDS: Final[dict[str, End]] = {"deleted": delete, "operator": end_by_operator}


def assert_ended(message: dict[str, Any], request_id: Any) -> None:
    assert message["id"] == request_id and message["error"]["data"]["reason"] == "session_ended", message


async def assert_gone(session: RawSession, workers: Workers) -> None:
    for worker in workers:
        assert await through(session, worker).status_of_ping() == 404


@every_mode
@pytest.mark.parametrize("reason", ENDS)
def test_streams_and_calls_end_elsewhere(reason: str, workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        here, there = workers
        session = await RawSession.open(here.url)
        key = text_of(await session.call("session_key"))
        loud, silent = gates.new(), gates.new()
        steps = session.tool_call("steps", {"gates": [loud]}, token="t")
        quiet = session.tool_call("quiet", {"gate": silent})
        async with session.get() as standing, session.post(steps) as running:
            await next_message(running)
            waiting = asyncio.create_task(answered(session, quiet))
            await gates.noted(silent, "started")
            await ENDS[reason](there, str(session.session_id), key)
            for last in messages(await rest(running)):
                assert_ended(last, steps["id"])
            assert_ended(await waiting, quiet["id"])
            assert messages(await rest(standing)) == []
        for gate in (loud, silent):
            await gates.noted(gate, "cancelled")
        await assert_gone(session, workers)

    run(scenario())


async def answered(session: RawSession, message: dict[str, Any]) -> dict[str, Any]:
    async with session.post(message) as response:
        return await answer(response)


@pytest.mark.parametrize("reason", ENDS)
def test_a_guide_stream_elsewhere_is_told_why(reason: str, workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        async with guide_session(here) as guide:
            key = text_of(await replace(guide, url=there.url).call("session_key", {}))
            await ENDS[reason](there, guide.session_id, key)
            assert (await next_named(guide.response)).json() == {
                "session_id": guide.session_id,
                "reason": reason,
            }
            assert await rest(guide.response) == []

    run(scenario())


@both_stores
def test_a_session_that_ends_in_two_places_ends_once(workers: Workers) -> None:
    async def scenario() -> None:
        here, there = workers
        async with guide_session(here) as guide:
            key = text_of(await guide.call("session_key", {}))
            ending = end_by_operator(there, guide.session_id, key)
            statuses = asyncio.gather(*(deleted(worker, guide.session_id) for worker in (*workers, *workers)))
            try:
                await ending
            except AssertionError as error:  # a client was quicker, and False is what was printed
                assert "False" in str(error)
            assert set(await statuses) <= {204, 404}
            told = [await next_named(guide.response), *await rest(guide.response)]
            assert [event.event for event in told] == ["session-expired"]

    run(scenario())


async def deleted(worker: ServerProcess, session_id: str) -> int:
    async with request("DELETE", worker.url, {"X-Session-ID": session_id}) as response:
        await response.body()
        return response.status


# -- time ----------------------------------------------------------------------------------


@pytest.fixture
def brief(workers: Workers) -> Workers:
    return both_at("/brief", workers)


@both_stores
def test_a_session_expires_wherever_its_streams_are(brief: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        here, there = brief
        async with guide_session(here) as guide:
            elsewhere, gate = replace(guide, url=there.url), gates.new()
            running = tool_call("steps", {"gates": [gate]}, token="t")
            async with elsewhere.post(running, accept=BOTH) as response:
                await next_message(response)
                told = await next_named(guide.response)
                assert told.json() == {"session_id": guide.session_id, "reason": "expired"}
                assert await rest(guide.response) == []
                for last in messages(await rest(response)):
                    assert_ended(last, running["id"])
            await gates.noted(gate, "cancelled")
            for worker in brief:
                async with replace(guide, url=worker.url).post(PING) as response:
                    assert response.status == 404, await response.body()

    run(scenario())


def test_a_session_that_is_used_elsewhere_does_not_expire(brief: Workers) -> None:
    """The worker that has the stream hears of no request, and its timer must not end the session."""

    async def scenario() -> None:
        here, there = brief
        async with guide_session(here) as guide:
            elsewhere = replace(guide, url=there.url)
            first_end = guide.expires_at
            while datetime.now(UTC) < first_end + timedelta(seconds=BRIEF_SECONDS / 2):
                assert await status_of_ping(elsewhere) == 200
                await asyncio.sleep(0.2)
            await elsewhere.call("announce", {"event": "still-here", "text": "yes"})
            assert (await next_named(guide.response)).event == "still-here"
            # And from now on nobody uses it.
            assert (await next_named(guide.response)).json()["reason"] == "expired"
            assert await status_of_ping(elsewhere) == 404

    run(scenario())


async def status_of_ping(guide: GuideStream) -> int:
    async with guide.post(PING) as response:
        await response.body()
        return int(response.status)


def test_a_warning_comes_once_to_each_stream(brief: Workers) -> None:
    """Both workers watch the session, and neither warns the other's client too."""

    async def scenario() -> None:
        here, there = brief
        async with (
            guide_session(here) as guide,
            request(
                "GET", there.url, {"Accept": "text/event-stream", "X-Session-ID": guide.session_id}
            ) as other,
        ):
            for response in (guide.response, other):
                names = [event.event for event in await rest(response) if event.event != "session-resumed"]
                assert names == ["session-warning", "session-expired"]

    run(scenario())
