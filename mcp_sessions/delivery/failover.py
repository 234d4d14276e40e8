"""Failover: streams whose calls died with their worker get the answer that nothing else will give."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Final

from mcp_sessions import jsonrpc
from mcp_sessions.background import Coalesced
from mcp_sessions.delivery.calls import Calls
from mcp_sessions.delivery.connections import Connections
from mcp_sessions.delivery.follower import Closing
from mcp_sessions.delivery.workers import Worker
from mcp_sessions.delivery.writer import Writer
from mcp_sessions.logs import about
from mcp_sessions.records import MESSAGE, WORKER_LOST, Append, Send, StreamRecord, Takeover
from mcp_sessions.runtime import Runtime
from mcp_sessions.signal_queue import queue_signal
from mcp_sessions.signals import connection_closed
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

READ_LIMIT: Final = 500
READ_SIZE: Final = 1024 * 1024


class Failover:
    """The worker's listener: ends the streams that are this worker's and that nothing here writes to."""

    def __init__(
        self, runtime: Runtime, worker: Worker, calls: Calls, connections: Connections, writer: Writer
    ) -> None:
        self._runtime = runtime
        self._worker = worker
        self._calls = calls
        self._connections = connections
        self._writer = writer
        self._ending = Coalesced(runtime, "end of lost calls", self._end_all)

    def end_lost_calls(self) -> None:
        """End them soon; what cannot be ended now, because the store is unavailable, a little later."""
        self._ending.request()

    def on_lost(self) -> None:
        """Others have ended, or will end, what this worker has begun."""
        self._calls.lose(WORKER_LOST)
        self._connections.close_all(Closing.LOST)

    def on_taken_over(self, taken: Sequence[Takeover]) -> None:
        """What the lost worker wrote is this one's to end, and what it read is read no more."""
        self.end_lost_calls()
        if left := [stream for each in taken for stream in each.left]:
            self._runtime.spawn(_send_closed(left), "lost")

    async def _end_all(self) -> None:
        names = [*self._worker.former, self._worker.name]
        for stream in (await get_store().afind_streams(writers=names)).values():
            if stream.name not in self._calls.streams:
                await self._end(stream)

    async def _end(self, stream: StreamRecord) -> None:
        """End the stream with an error for each request that has no answer in it."""
        answered = await _answered(stream)
        errors = [_lost(request_id) for request_id in stream.request_ids if request_id not in answered]
        if stream.kind == "call":
            # The answer goes to a GET stream of the session, in exchange for the call.
            call = Append(stream.name, (), ends=True, writer=stream.writer)
            items: list[Append | Send] = [Send(stream.session_key, MESSAGE, e, call=call) for e in errors]
        else:
            events = tuple((MESSAGE, error) for error in errors)
            items = [Append(stream.name, events, ends=True, writer=stream.writer)]
        placed = [await (await self._writer.put(item)) for item in items]
        if errors and any(placed):
            # Neither of a stream that had its answers, nor of one that ended meanwhile.
            text, key = "session %s: %d calls were lost with their worker", stream.session_key
            logger.warning(text, key, len(errors), extra=about(key))


async def _send_closed(streams: Sequence[StreamRecord]) -> None:
    for stream in streams:
        if (session := await get_store().aload_by_key(stream.session_key)) is not None:
            queue_signal(connection_closed, session, "lost", stream=stream)


async def _answered(stream: StreamRecord) -> set[jsonrpc.RequestId]:
    """The ids of the responses that the stream has."""
    found: set[jsonrpc.RequestId] = set()
    after = 0
    while (reading := await get_store().aread(stream.name, after, READ_LIMIT, READ_SIZE)) and reading.events:
        messages = [json.loads(event.data) for event in reading.events if event.name == MESSAGE]
        found.update(m["id"] for m in messages if "method" not in m)
        after = reading.events[-1].position
    return found


def _lost(request_id: jsonrpc.RequestId) -> str:
    return jsonrpc.encode(
        jsonrpc.error(
            jsonrpc.INTERNAL_ERROR,
            WORKER_LOST,
            data={"reason": "worker_lost"},
            request_id=request_id,
        )
    )
