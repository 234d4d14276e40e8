"""A client of the session guide's dialect: a GET opens its session, and named events come on that stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

import httpx2

from mcp_sessions.routing import Application
from mcp_sessions.testing.app import http_client, url_of

WAIT_SECONDS: Final = 10.0


class GuideStream:
    """An open stream, and POSTs in its session."""

    def __init__(self, http: httpx2.AsyncClient, url: str, response: httpx2.Response) -> None:
        self.session_id = ""
        """As the `session` event says."""
        self.last_event_id = ""
        """Of what was read; opens the stream again where it was left."""
        self._http, self._url = http, url
        self._events = aiter(httpx2.EventSource(response))
        self._numbers = count(1)

    async def next_event(
        self, name: str | None = None, *, within: float = WAIT_SECONDS
    ) -> httpx2.ServerSentEvent:
        """The next event, or the next of this name. Raises TimeoutError after so many seconds.

        Raises StopAsyncIteration at the end of the stream. Heartbeats are passed over.
        """
        async with asyncio.timeout(within):
            while True:
                event = await anext(self._events)
                self._note(event)
                if event.event == name or (name is None and event.event != "heartbeat"):
                    return event

    def _note(self, event: httpx2.ServerSentEvent) -> None:
        self.last_event_id = event.id or self.last_event_id
        if event.event in {"session", "session-resumed"}:
            self.session_id = json.loads(event.data)["session_id"]

    async def request(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """POST a request in the session; its result. Raises AssertionError for anything else."""
        message = {
            "jsonrpc": "2.0",
            "id": next(self._numbers),
            "method": method,
            "params": dict(params or {}),
        }
        headers = {"X-Session-ID": self.session_id, "Accept": "application/json"}
        answer = await self._http.post(self._url, json=message, headers=headers)
        body = answer.json()
        assert "result" in body, (answer.status_code, body)
        return body["result"]


@asynccontextmanager
async def open_guide_stream(
    path: str | None = None,
    *,
    session_id: str | None = None,
    last_event_id: str | None = None,
    headers: Mapping[str, str] | None = None,
    application: Application | None = None,
) -> AsyncIterator[GuideStream]:
    """Open a GET stream as a browser does, and a session with it unless `session_id` names one.

    With an id the first event (`session`, or `session-resumed`) is read already. With `last_event_id` the
    stream goes on after that event.
    """
    named = {"X-Session-ID": session_id, "Last-Event-ID": last_event_id}
    own = {"Accept": "text/event-stream"} | {name: value for name, value in named.items() if value}
    url = url_of(path)
    async with (
        http_client(application, headers=headers) as http,
        http.stream("GET", url, headers=own) as opened,
    ):
        opened.raise_for_status()
        stream = GuideStream(http, url, opened)
        if session_id or not last_event_id:
            await stream.next_event()
        yield stream
