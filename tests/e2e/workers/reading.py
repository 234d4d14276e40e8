"""What a client reads on its streams, keep-alives left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.test_guide_dialect import EVENTS, GuideStream
from tests.harness.server import ServerProcess
from tests.harness.sse import Event
from tests.harness.wire import RawSession, Response, request


async def next_message(response: Response) -> Event:
    """The next JSON-RPC message."""
    while not (event := await response.next_event()).is_message:
        pass
    return event


async def next_named(response: Response) -> Event:
    """The next named session event."""
    while (event := await response.next_event()).event in (None, "message", "heartbeat", "session-warning"):
        pass
    return event


async def rest(response: Response) -> list[Event]:
    """Everything up to the end of the stream, which comes by itself."""
    assert response.status == 200, (response.status, await response.body())
    events = [event async for event in response.events() if event.event != "heartbeat"]
    assert response.finished
    return events


def messages(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [event.json() for event in events if event.is_message]


def text_of(message: dict[str, Any]) -> str:
    text: str = message["result"]["content"][0]["text"]
    return text


@asynccontextmanager
async def guide_stream(
    guide: GuideStream, worker: ServerProcess, last_event_id: str | None = None
) -> AsyncIterator[Response]:
    """Another stream of a guide's session; with a last event id alone, as a browser comes back."""
    named = {"Last-Event-ID": last_event_id} if last_event_id else {"X-Session-ID": guide.session_id}
    async with request("GET", worker.url, {**EVENTS, **named}) as response:
        event = await response.next_event()
        assert event.event == "session-resumed", event
        assert event.json()["session_id"] == guide.session_id
        yield response


async def until_left(worker: ServerProcess, key: str, still_read: int) -> None:
    """Wait until the store knows that no more of a session's GET streams are read than so many."""
    session = await RawSession.open(worker.url)
    while await _connections_of(session, key) > still_read:
        await asyncio.sleep(0.02)


async def _connections_of(session: RawSession, key: str) -> int:
    told: int = (await session.call("connections_of", {"key": key}))["result"]["structuredContent"]["result"]
    return told
