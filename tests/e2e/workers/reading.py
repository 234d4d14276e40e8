"""What a client reads on its streams, keep-alives left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from tests.e2e.test_guide_dialect import EVENTS, GuideStream
from tests.harness.server import ServerProcess
from tests.harness.sse import Event
from tests.harness.wire import Response, request


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
