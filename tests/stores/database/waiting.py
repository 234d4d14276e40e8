"""How long the store waits: for a database that does not answer, and for rows that are locked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import pytest
from django.db import Error, connections, transaction

from mcp_sessions.exceptions import StoreBusy, StoreUnavailable
from mcp_sessions.records import Claim
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.stores.database.locks import lock_session
from mcp_sessions.stores.database.transactions import writing
from mcp_sessions.testing.store_contract.builders import apost, post, put
from mcp_sessions.testing.store_contract.observing import inbox_of, together
from tests.harness.gate import Gate
from tests.stores.database.aliases import another_alias, until

PORTS: Final = {"postgresql": 5432, "mysql": 3306}


def set_seconds(settings: Any, **seconds: float) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **seconds}


class WaitingContract:
    @pytest.fixture
    def silent(self, store: DatabaseSessionStore, alias: str) -> Iterator[tuple[DatabaseSessionStore, Gate]]:
        """A store whose database can be made to accept everything and answer nothing."""
        with (
            Gate(f"tcp://127.0.0.1:{PORTS[connections[alias].vendor]}") as gate,
            another_alias(alias, "silent", PORT=str(gate.port)) as silent,
        ):
            yield silent, gate
            gate.release()

    def test_a_database_that_does_not_answer_is_away(
        self, store: DatabaseSessionStore, silent: tuple[DatabaseSessionStore, Gate], settings: Any
    ) -> None:
        away, gate = silent
        session = put(store)
        assert together(*(away.aload(session.digest) for _ in range(8))) == [session] * 8
        gate.hold()
        set_seconds(settings, STORE_TIMEOUT=0.5)
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                together(away.aload(session.digest))
        # Its threads wait for ever only if nobody wakes them.
        until(lambda: self.is_done(away.arun(threading.current_thread)))
        gate.release()
        set_seconds(settings, STORE_TIMEOUT=60)
        until(lambda: self.is_done(away.aload(session.digest)))
        assert together(*(away.aload(session.digest) for _ in range(8))) == [session] * 8

    def test_who_has_a_thread_apart_is_waked_too(
        self, silent: tuple[DatabaseSessionStore, Gate], settings: Any
    ) -> None:
        """The heartbeat's: it would be taken for dead for good."""
        away, gate = silent
        raised: list[type[Exception]] = []

        def beat() -> None:
            away.beat("worker")
            gate.hold()
            set_seconds(settings, STORE_TIMEOUT=0.5)
            try:
                away.beat("worker")
            except StoreUnavailable as error:
                raised.append(type(error))

        thread = away.start_thread(beat, "beating")
        thread.join(60)
        assert raised == [StoreUnavailable]

    def test_a_store_is_closed_whose_database_does_not_answer(
        self, silent: tuple[DatabaseSessionStore, Gate], settings: Any
    ) -> None:
        away, gate = silent
        together(away.aload(""))
        gate.hold()
        set_seconds(settings, STORE_TIMEOUT=0.5)
        with pytest.raises(StoreUnavailable):
            together(away.aload(""))
        closing = threading.Thread(target=away.close)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()

    def test_a_database_that_accepts_and_does_not_greet_is_away(
        self, silent: tuple[DatabaseSessionStore, Gate], settings: Any
    ) -> None:
        """The thread waits while it connects, where there is nothing yet that could be broken off."""
        set_seconds(settings, STORE_TIMEOUT=0.5)
        away, gate = silent
        gate.hold()
        with pytest.raises(StoreUnavailable):
            together(away.aload(""))
        until(lambda: self.is_done(away.arun(threading.current_thread)))
        closing = threading.Thread(target=away.close)
        closing.start()
        closing.join(60)
        assert not closing.is_alive()

    def test_a_locked_row_holds_up_nobody_else(self, store: DatabaseSessionStore, alias: str) -> None:
        session, others = put(store), [put(store) for _ in range(8)]

        async def work() -> list[Any]:
            waiting = [asyncio.ensure_future(apost(store, session.key, "1")) for _ in range(6)]
            async with asyncio.timeout(60):
                done = await asyncio.gather(
                    *(store.asave_metadata(other.key, {"a": 1}) for other in others),
                    *(store.aload(other.digest) for other in others),
                )
            for each in waiting:
                each.cancel()
            return done

        with transaction.atomic(using=alias):
            assert lock_session(alias, session.key, "id")
            done = asyncio.run(work())
        assert done[:8] == [True] * 8
        assert [each.digest for each in done[8:]] == [other.digest for other in others]

    def test_a_row_that_stays_locked_is_told_of(
        self, store: DatabaseSessionStore, alias: str, settings: Any
    ) -> None:
        set_seconds(settings, STORE_LOCK_SECONDS=0.1)
        session = put(store)
        with transaction.atomic(using=alias):
            lock_session(alias, session.key, "id")
            with pytest.raises(StoreBusy, match="busy"):
                together(apost(store, session.key, "1"))
        assert together(apost(store, session.key, "1")) == [True]

    def test_a_turn_at_a_row_is_waited_for_no_longer(
        self, store: DatabaseSessionStore, settings: Any
    ) -> None:
        """The database answers all the while: for other sessions nothing changes."""
        session, is_free = put(store), threading.Event()
        threads = store._own_threads()
        threads.queues.submit(session.key, lambda: is_free.wait(120))
        set_seconds(settings, STORE_LOCK_SECONDS=0.1)
        try:
            with pytest.raises(StoreBusy, match="row"):
                together(store.aclaim(Claim(session.key, "call", "worker", "token", 60), None))
            assert not threads.hangs
        finally:
            is_free.set()

    def test_a_transaction_whose_process_stands_still_is_ended(
        self, store: DatabaseSessionStore, alias: str, settings: Any
    ) -> None:
        set_seconds(settings, STORE_LOCK_SECONDS=3)
        session = put(store)
        stopped, goes_on = threading.Event(), threading.Event()

        def stop() -> None:
            with writing(alias):
                post(store, session.key, "lost")
                stopped.set()
                goes_on.wait(120)

        async def until_posted() -> bool:
            # A busy machine may use up what is left between the end of the one and that of the waiting.
            with suppress(StoreBusy):
                return await apost(store, session.key, "1")
            return await until_posted()

        async def work() -> bool:
            standing = asyncio.ensure_future(store.arun(stop))
            await asyncio.to_thread(stopped.wait, 60)
            try:
                async with asyncio.timeout(60):
                    return await until_posted()
            finally:
                goes_on.set()
                with pytest.raises((Error, StoreUnavailable)):
                    await standing

        assert together(work()) == [True]
        assert inbox_of(store, session) == [(1, "1")]

    def test_the_projects_connections_wait_as_they_did(self, store: DatabaseSessionStore, alias: str) -> None:
        def limit() -> str:
            with connections[alias].cursor() as cursor:
                cursor.execute(self.asks_for_limit)
                return str(cursor.fetchone()[-1])

        before = limit()
        assert together(store.arun(limit)) == [self.limit]
        assert limit() == before != self.limit

    asks_for_limit: str
    limit: str

    def is_done(self, work: Any) -> bool:
        try:
            together(work)
        except StoreUnavailable:
            return False
        return True
