"""HTTP+SSE, the transport of 2024-11-05, at the two paths of an older server (SSE_PATHS).

A session that a GET opened there is one of the endpoint, as if the GET had come to the endpoint's own path.
Only what its stream says is different: the clients that are left know nothing but `endpoint` and messages,
and some take every other event for a message (Go's).

Source: the specification of 2024-11-05, "Transports", "HTTP with SSE".
"""

from __future__ import annotations

from collections.abc import Iterator

from mcp_sessions import sse
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import Follower, KeepAlive, Notice, Rotated
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Exchange
from mcp_sessions.protocol.session_ids import find_session_id
from mcp_sessions.protocol.streams import Chunks, Greeting, GuideVoice, voiced_chunks
from mcp_sessions.records import MESSAGE, Event, SessionRecord


def check(exchange: Exchange) -> None:
    """Raise RequestError for what the two paths do not serve: one has GET, the other POST for a session."""
    stream, _ = AppSettings(exchange.endpoint).SSE_PATHS
    method = "GET" if exchange.sse_path == stream else "POST"
    if exchange.method != method:
        raise RequestError(405, f"{exchange.sse_path} has only {method}.", headers=(("Allow", method),))
    if method == "POST" and ((requested := find_session_id(exchange)) is None or not requested.by_endpoint):
        raise RequestError(
            400, f"Open {stream} by a GET, and send messages to the URL that its stream names."
        )


def chunks(follower: Follower, session: SessionRecord, session_id: str, greeting: Greeting) -> Chunks:
    """A GET stream at the old path; the event ids are sealed, as those of the session guide's streams."""
    return voiced_chunks(follower, Voice(follower.stream.name, session, session_id, greeting))


class Voice(GuideVoice):
    """A stream's events as a client of 2024-11-05 knows them. What it does not know is a comment."""

    def greetings(self, position: int) -> Iterator[bytes]:
        yield self._endpoint(sse.event_id(self._prefix, position))

    def rotated(self, rotated: Rotated, position: int) -> Iterator[bytes]:
        self._go_by(rotated.session, rotated.session_id)
        yield self._endpoint(sse.event_id(self._prefix, position))

    def frame(self, item: Event | Notice | KeepAlive) -> bytes:
        is_message = isinstance(item, Event) and (item.name or MESSAGE) == MESSAGE
        return super().frame(item) if is_message else sse.KEEP_ALIVE

    def farewell(self) -> Iterator[bytes]:
        """Nothing: the time would be on an event that is no message."""
        return iter(())

    @property
    def _post_path(self) -> str:
        exchange = self._greeting.exchange
        _, messages = AppSettings(exchange.endpoint).SSE_PATHS
        return exchange.path.removesuffix(exchange.endpoint) + str(messages)
