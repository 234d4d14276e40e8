"""What a client makes of the streams that it reads at one worker after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tests.harness.server import ServerProcess
from tests.harness.sse import Event
from tests.harness.wire import RawSession, Response, is_response

DEADLINE: Final = 60.0
POLL_SECONDS: Final = 0.05


async def messages(response: Response, count: int) -> list[Event]:
    """The next so many events that carry a message."""
    found: list[Event] = []
    while len(found) < count:
        event = await response.next_event()
        if event.is_message:
            found.append(event)
    return found


async def to_the_end(response: Response) -> list[Event]:
    """Every message that is left in a stream, which ends by itself."""
    assert response.status == 200, (response.status, await response.body())
    found = [event async for event in response.events() if event.is_message]
    assert response.finished, response.seen
    return found


async def rest(session: RawSession, last_event_id: str | None) -> list[Event]:
    """Every message behind that event, up to the end of the stream."""
    async with session.get(last_event_id) as response:
        return await to_the_end(response)


def beginning(event: Event) -> str:
    """The event id from which the event's stream is read as a whole."""
    assert event.id is not None
    return f"{event.id.rpartition('.')[0]}.0"


def same(events: Iterable[Event]) -> list[tuple[str | None, str | None]]:
    """What has to be the same wherever an event is read."""
    return [(event.id, event.data) for event in events]


def answers(events: Iterable[Event]) -> list[dict[str, Any]]:
    """The JSON-RPC responses among them."""
    return [message for event in events if is_response(message := event.json())]


def texts(events: Iterable[Event]) -> list[Any]:
    """What the session was told on its GET stream."""
    return [event.json()["params"]["data"] for event in events]


def steps(events: Iterable[Event]) -> list[float]:
    """The progress reported before the answer."""
    return [message["params"]["progress"] for event in events if not is_response(message := event.json())]


def lost(*request_ids: Any) -> list[tuple[Any, str]]:
    """What reasons() says of calls whose worker is gone."""
    return [(each, "worker_lost") for each in sorted(request_ids)]


def reasons(found: Sequence[dict[str, Any]]) -> list[tuple[Any, str]]:
    return sorted((each["id"], each.get("error", {}).get("data", {}).get("reason", "")) for each in found)


def results(found: Sequence[dict[str, Any]]) -> list[str]:
    """The texts that tools returned."""
    assert all("result" in each for each in found), found
    return [each["result"]["content"][0]["text"] for each in found]


async def logged(worker: ServerProcess, words: str, times: int = 1) -> None:
    """Wait until the worker has said so."""
    try:
        async with asyncio.timeout(DEADLINE):
            while worker.log().count(words) < times:
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise AssertionError(f"{words!r} was not logged {times} times:\n{worker.log()[-4000:]}") from None


async def status_and_retry(session: RawSession) -> tuple[int, str | None]:
    """What a ping is answered with."""
    async with session.post(session.message("ping")) as response:
        await response.body()
        return response.status, response.headers.get("retry-after")


async def served_again(session: RawSession) -> None:
    """Wait until the worker answers; meanwhile it says when to come back, and nothing else."""
    async with asyncio.timeout(DEADLINE):
        while (told := await status_and_retry(session))[0] != 200:
            assert told[0] == 503 and told[1], told
            await asyncio.sleep(POLL_SECONDS)
