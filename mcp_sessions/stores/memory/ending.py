"""Ends of sessions, with their streams; what is deleted later, and what there is meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mcp_sessions.lifetimes import expiry_reason
from mcp_sessions.records import SessionRecord, Statistics
from mcp_sessions.stores.memory.kept import Session
from mcp_sessions.stores.memory.records import readable
from mcp_sessions.stores.memory.ringing import ring
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.transactions import Transactional


class EndingVerbs(Transactional):
    def end(self, key: str, at: datetime, reason: str) -> bool:
        with self.transaction() as state:
            if (session := state.unended(key)) is None:
                return False
            end_session(state, session, at, reason, at)
            ring(state, [key])
            return True

    def expire(self, now: datetime, limit: int, keys: Sequence[str] | None = None) -> Sequence[SessionRecord]:
        with self.transaction() as state:
            named = (state.unended(key) for key in (state.sessions if keys is None else dict.fromkeys(keys)))
            over = [session for session in named if session is not None and session.expires_at <= now]
            chosen = sorted(over, key=lambda session: session.expires_at)[:limit]
            records = list(readable(chosen))
            for session in chosen:
                reason = expiry_reason(session.expires_at, session.timeout_at)
                end_session(state, session, session.expires_at, reason, now)
            ring(state, [session.key for session in chosen])
            return records

    def purge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> int:
        with self.transaction() as state:
            chosen = state.sessions if keys is None else keys
            sessions = [state.sessions[key] for key in chosen if key in state.sessions]
            ended = [s for s in sessions if s.ended_at is not None and s.ended_at <= before]
            for session in ended[:limit]:
                state.drop_session(session)
            # Of some of them somebody may not have heard that they are over.
            ring(state, [session.key for session in ended[:limit]])
            return len(ended[:limit])

    def statistics(self, now: datetime, server: str = "") -> Statistics:
        with self.transaction() as state:
            sessions = [s for s in state.sessions.values() if s.server == (server or s.server)]
            streams = [x for s in sessions for x in s.streams.values() if x.ended_at is None]
            return Statistics(
                live=sum(session.is_live(now) for session in sessions),
                expired=sum(s.ended_at is None and not s.is_live(now) for s in sessions),
                ended=sum(session.ended_at is not None for session in sessions),
                open_streams=sum(stream.kind == "get" and stream.reader != "" for stream in streams),
                running_calls=sum(stream.writer != "" for stream in streams),
            )


def end_session(state: State, session: Session, ended_at: datetime, reason: str, now: datetime) -> None:
    """End it with its streams; whoever has something open or running for it is still to be told.

    The reply of a call that runs is ended by the call, which is cancelled and says so in it.
    """
    session.ended_at, session.end_reason = ended_at, reason
    state.rank(session)
    for stream in session.streams.values():
        is_running = stream.kind == "post" and stream.writer != ""
        if stream.ended_at is None and not is_running:
            state.end_stream(stream, now)
            stream.idle_since = now
