"""The verbs on who reads a stream, and how far."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.records import Attachment, Displaced, Inbound
from mcp_sessions.stores.memory.appending import store_batch
from mcp_sessions.stores.memory.kept import Session, Stream
from mcp_sessions.stores.memory.moving import hand_over, leave, move, pass_over_moved
from mcp_sessions.stores.memory.records import stream_record
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.streams import open_stream
from mcp_sessions.stores.memory.transactions import Transactional


class AttachingVerbs(Transactional):
    def attach(
        self,
        session_key: str,
        name: str,
        worker: str,
        seen: int,
        limit: int | None,
        *,
        is_new: bool = False,
        keep: int | None = None,
    ) -> Attachment | None:
        with self.transaction() as state:
            if (session := state.unended(session_key)) is None:
                raise SessionEnded("The session has ended: its streams are read no more.")
            if is_new:
                open_stream(state, session, Stream(name, session_key, "get"))
            stream = session.streams.get(name)
            if (
                stream is None
                or stream.kind not in ("get", "post")
                or not stream.trimmed <= seen <= stream.position
            ):
                return None
            displaced = set_reader(state, stream, worker, seen)
            if name in session.get_streams:
                *others, _ = session.open_streams()
                newest = [other for other in others if other.reader][-1:]
                displaced += make_room(session, limit)
                move(stream, [*(other for other in others if not other.reader), *newest])
                drop_left(state, others, keep)
            if displaced:
                store_batch(state, [Inbound(session_key, json.dumps(each.message)) for each in displaced])
            return Attachment(stream_record(stream), tuple(displaced))

    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Sequence[str]:
        with self.transaction() as state:
            streams = state.named(positions)
            mine = [stream for stream in streams if stream.reader == worker]
            for stream in mine:
                # Who leaves gives back what it took and has not sent.
                least = stream.trimmed if leaving else stream.delivered
                stream.delivered = max(least, positions[stream.name])
                pass_over_moved(stream)
            if not leaving:
                return []
            leave(mine)
            return hand_over(state, streams)


def set_reader(state: State, stream: Stream, worker: str, seen: int) -> list[Displaced]:
    """Have the stream read by the worker; the connection of another worker that it had."""
    earlier = Displaced(stream.name, stream.reader, stream.attached_at, "replaced")
    stream.reader, stream.attached_at, stream.idle_since = worker, state.next_attachment(), None
    stream.delivered = max(stream.delivered, seen) if stream.kind == "get" else seen
    return [earlier] if earlier.reader not in ("", worker) else []


def drop_left(state: State, others: Iterable[Stream], keep: int | None) -> None:
    """Of the streams that nobody reads, and that nothing waits in any more, only the newest stay."""
    left = [stream for stream in others if not stream.reader]
    for stream in left[: max(0, len(left) - keep)] if keep is not None else ():
        state.drop_stream(stream)


def make_room(session: Session, limit: int | None) -> list[Displaced]:
    """Nobody reads the session's oldest GET streams any more; the one just attached is the newest."""
    read = [stream for stream in session.open_streams() if stream.reader]
    excess = read[:-limit] if limit is not None else []
    displaced = [Displaced(each.name, each.reader, each.attached_at, "limit") for each in excess]
    leave(excess)
    return displaced
