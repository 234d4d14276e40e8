"""Sessions that a GET has opened and that nobody uses: they end soon after their stream.

Some bridges open a GET stream without a session at every start, and never end what that opens. Such
a session would live for SESSION_TIMEOUT, and count at the limits.
"""

from __future__ import annotations

from functools import partial

from mcp_sessions.background import Coalesced, Outage
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import get_hub
from mcp_sessions.lifecycle.endings import end
from mcp_sessions.lifecycle.last_used import write_uses
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.stores import get_store


class UnusedSessions:
    """The sessions that end soon, unless they are used."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._outage = Outage("end of unused sessions")

    def end_later(self, session: SessionRecord, seconds: float) -> None:
        work = Coalesced(
            self._runtime, "end of an unused session", partial(look, session), outage=self._outage
        )
        work.request(seconds)


def end_if_unused(session: SessionRecord) -> None:
    """A stream of the session was closed: UNUSED_SECONDS later it ends, if it was never used."""
    runtime, seconds = current(), AppSettings(session.server).UNUSED_SECONDS
    # A client that a stopping process sends away comes back to another one.
    if seconds is not None and not session.requests and not runtime.draining:
        runtime.service(UnusedSessions).end_later(session, seconds)


async def look(session: SessionRecord) -> None:
    """End the session now, if it was never used and nobody reads a stream of it."""
    if current().draining:
        return
    # What this process knows of it and has not stored yet.
    await write_uses([session.key])
    await get_hub().connections.save()
    if await _is_unused(session):
        await end(session.key, EndReason.UNUSED)


async def _is_unused(session: SessionRecord) -> bool:
    """No request, no handshake, one stream that nobody reads, and nothing that was sent on it."""
    found = await get_store().aload_by_key(session.key)
    if found is None or found.requests or found.connections > 1 or found.client or found.data:
        return False
    streams = list((await get_store().afind_streams(sessions=[session.key])).values())
    return not any(stream.reader or stream.position for stream in streams)
