"""How the tests of the contract look at a store, and how they use it from several connections at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from mcp_sessions.records import Event, Placed, SessionRecord, StreamRecord
from mcp_sessions.stores.base import BaseSessionStore

T = TypeVar("T")


def reload(store: BaseSessionStore, session: SessionRecord) -> SessionRecord:
    found = store.load_by_key(session.key)
    assert found is not None
    return found


def stream_of(store: BaseSessionStore, name: str) -> StreamRecord:
    return store.find_streams([name])[name]


def events_of(store: BaseSessionStore, name: str, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
    """The events of a stream that is there."""
    reading = store.read(name, after, limit)
    assert reading is not None
    return reading.events


def texts_of(store: BaseSessionStore, name: str, after: int = 0, limit: int = 1000) -> list[str]:
    return [event.data for event in events_of(store, name, after, limit)]


def streams_of(store: BaseSessionStore, *keys: str, only_open: bool = False) -> list[StreamRecord]:
    """The streams of sessions, in the order of their names."""
    return list(store.find_streams(sessions=keys, only_open=only_open).values())


def written_by(store: BaseSessionStore, *workers: str) -> list[StreamRecord]:
    return list(store.find_streams(writers=workers).values())


def inbox_of(store: BaseSessionStore, session: SessionRecord, after: int = 0) -> list[tuple[int, str]]:
    """(position, text) of each message in the inbox of a session."""
    return [(event.position, event.data) for event in events_of(store, session.key, after)]


def has_ended(store: BaseSessionStore, name: str) -> bool:
    """Whether a stream that is there has ended."""
    reading = store.read(name, 0, 1000)
    assert reading is not None
    return reading.end is not None


def waiting_in(store: BaseSessionStore, name: str) -> list[str]:
    """What the stream's client has not been sent."""
    return texts_of(store, name, stream_of(store, name).delivered)


def firsts(placed: Sequence[Placed]) -> list[int | None]:
    """The position that each item got in its only place."""
    assert all(len(places) <= 1 for places in placed)
    return [places[0][1] if places else None for places in placed]


def together(*calls: Awaitable[T]) -> list[T]:
    """Await all at once: the store has several connections."""

    async def run() -> list[T]:
        async with asyncio.timeout(60):
            return await asyncio.gather(*calls)

    return asyncio.run(run())
