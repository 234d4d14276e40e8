"""The store in memory keeps the contract, and what a request needs costs the same however much there is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from django.utils import timezone

from mcp_sessions.exceptions import LimitReached
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, Limits, Reading, Send, Touch
from mcp_sessions.stores import get_store
from mcp_sessions.stores.memory import InMemorySessionStore
from mcp_sessions.stores.memory.kept import Ranking
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    apost,
    make_session,
    messages,
    post,
    put,
    put_read,
    put_stream,
)
from mcp_sessions.testing.store_contract.observing import inbox_of, together
from tests.stores.states import StateContract

MANY = 300
SECOND = timedelta(seconds=1)


class Unscanned(dict[str, Any]):
    """A dict that nobody goes through."""

    def refuse(self, *_: object) -> NoReturn:
        raise AssertionError("somebody goes through all of it")

    __iter__ = keys = values = items = copy = refuse


def test_no_test_hides_another() -> None:
    """The contract is made of many classes, and of two tests with one name only one would run."""
    names = [name for each in TestInMemory.__mro__ for name in vars(each) if name.startswith("test_")]
    assert sorted(names) == sorted(set(names))


class TestInMemory(StateContract):
    @pytest.fixture
    def store(self) -> InMemorySessionStore:
        return InMemorySessionStore()

    @pytest.fixture
    def crowded(self, store: InMemorySessionStore) -> InMemorySessionStore:
        """A store with many sessions and streams, which nobody goes through."""
        for n in range(MANY):
            session = put(store, last_accessed_at=NOW + n * SECOND)
            put_stream(store, session)
            store.subscribe(session.key, f"file:///{n}")
        with store.transaction() as state:
            for name in ("sessions", "keys", "streams", "subscribers", "groups"):
                setattr(state, name, Unscanned(getattr(state, name)))
        return store

    @pytest.fixture
    def looked_at(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The keys that are looked at in the order of some ranking."""
        looked_at: list[str] = []

        def look(ranking: Ranking) -> Iterator[str]:
            for _, key in ranking._order:
                looked_at.append(key)
                yield key

        monkeypatch.setattr(Ranking, "__iter__", look)
        return looked_at

    @pytest.mark.parametrize("limits", [Limits(), Limits(MANY + 1, MANY + 1), Limits(MANY, MANY)])
    @pytest.mark.parametrize("replaces", [True, False])
    def test_opening_a_session_goes_through_nothing(
        self, crowded: InMemorySessionStore, looked_at: list[str], limits: Limits, replaces: bool
    ) -> None:
        is_full = limits.in_all == MANY
        with pytest.raises(LimitReached) if is_full and not replaces else nullcontext():
            replaced = crowded.create(make_session(), replace(limits, replaces=replaces))
            assert [each.last_accessed_at for each in replaced] == ([NOW] if is_full else [])
        assert len(looked_at) <= 2

    def test_what_a_request_needs_goes_through_nothing(
        self, crowded: InMemorySessionStore, looked_at: list[str]
    ) -> None:
        store = crowded
        session = put(store)
        name, reply = put_read(store, session), put_stream(store, session, "post", "worker")
        assert store.load(session.digest) == store.load_by_key(session.key) == session
        store.touch([Touch(session.key, NOW, NOW, NOW, requests=1)])
        assert store.save_metadata(session.key, {"initialized": True})
        store.append([Append(reply, messages("a"), ends=True), Send(session.key, "message", "a")], "token")
        assert store.read(name, 0, 10) is not None
        assert store.find_streams([name, reply]).keys() == {name, reply}
        store.mark_delivered("reader", {name: 0}, leaving=True)
        store.attach(session.key, put_stream(store, session), "reader", 0, 3)
        assert post(store, session.key, "1")
        assert inbox_of(store, session) == [(1, "1")]
        assert store.changes(store.last_change(timezone.now() - HOUR))
        assert store.lease(session.key, "mine", NOW, NOW + HOUR) == {}
        assert store.release(session.key, "mine", {"a": 1})
        assert store.subscribers("file:///1", NOW)
        assert store.warn(session.key, NOW)
        assert store.end(session.key, NOW, "deleted")
        assert looked_at == []

    async def test_awaited_verbs_run_in_place(self, store: InMemorySessionStore) -> None:
        assert await store.arun(threading.get_ident) == threading.get_ident()

    def test_who_asks_again_and_again_keeps_nobody_waiting(self, store: InMemorySessionStore) -> None:
        """An awaited verb lets others go on, though it waits for nothing."""
        session = put(store)

        async def look() -> bool:
            while (await store.aread(session.key, 0, 10)) == Reading(()):
                pass
            return True

        assert together(look(), apost(store, session.key, "1")) == [True, True]

    def test_many_threads_open_one_stream_once(self, store: InMemorySessionStore) -> None:
        session, name = put(store), new_stream_name()
        opened: list[str] = []

        def open_it() -> None:
            try:
                opened.append(store.open_stream(session.key, name, "get").name)
            except Exception as error:
                opened.append(type(error).__name__)

        threads = [store.start_thread(open_it, f"opener {n}") for n in range(8)]
        for thread in threads:
            thread.join(timeout=30)
        assert sorted(opened) == sorted(["DuplicateIdentifier"] * 7 + [name])


class SlowlyMade(InMemorySessionStore):
    """One that threads meet at while it is made."""

    def __init__(self) -> None:
        time.sleep(0.05)
        super().__init__()


def test_threads_that_come_first_together_get_one_store(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": {"BACKEND": f"{__name__}.SlowlyMade"}}
    with ThreadPoolExecutor(8) as threads:
        stores = list(threads.map(lambda _: get_store(), range(8)))
    assert len({id(store) for store in stores}) == 1
