"""On PostgreSQL the loop itself reads sessions, and the threads do where it cannot."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Coroutine, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
import pytest
from django.db import connections
from django.test.utils import override_settings

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.records import Rotation, SessionRecord
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.stores.database import reader as reader_module
from mcp_sessions.stores.database.connections import OwnConnection, own_connection
from mcp_sessions.stores.database.reader import READ_IN_THREADS_FIRST, Reader
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, put
from tests.stores.database.aliases import on
from tests.stores.database.fixtures import DatabaseFixtures

DEADLINE = 60.0
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    async def in_time() -> T:
        async with asyncio.timeout(DEADLINE):
            return await work

    return asyncio.run(in_time())


async def reading(store: DatabaseSessionStore) -> Reader:
    """The reader, once it has a connection: a few sessions are read in threads first."""
    reader = store.reader()
    while reader is None or reader._connection is None:
        await store.aload("")
        reader = store.reader()
        await asyncio.sleep(0.005)
    return reader


@contextmanager
def no_threads(store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch) -> Any:
    async def refuse(*_: Any) -> Any:
        raise AssertionError("a thread was asked")

    with monkeypatch.context() as patched:
        patched.setattr(store, "arun", refuse)
        yield


class Derived(DatabaseSessionStore):
    def load(self, digest: str) -> SessionRecord | None:
        return None


class LikeWindows(asyncio.SelectorEventLoop):
    """asyncio's default loop on Windows has no add_reader(); but for its own socket, this has none either."""

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:
        raise NotImplementedError

    remove_reader = remove_writer = add_writer = add_reader


@on("postgres")
class TestReader(DatabaseFixtures):
    @pytest.fixture
    def alias(self) -> str:
        return "postgres"

    def test_sessions_are_read_without_a_thread(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions = [put(store, data={"n": n}) for n in range(3)]

        async def read() -> None:
            await reading(store)
            with no_threads(store, monkeypatch):
                found = await asyncio.gather(*(store.aload(each.digest) for each in [*sessions, *sessions]))
                assert found == [*sessions, *sessions]
                assert await store.aload("nobody's") is None

        run(read())

    def test_a_rotated_session_is_found_by_both_of_its_digests(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = put(store)
        assert store.rotate(session.key, session.digest, Rotation("f" * 64, "sealed", NOW + HOUR))

        async def read() -> list[SessionRecord | None]:
            await reading(store)
            with no_threads(store, monkeypatch):
                return [await store.aload(session.digest), await store.aload("f" * 64)]

        assert run(read()) == [store.load(session.digest)] * 2
        assert store.load(session.digest) is not None

    def test_what_is_asked_meanwhile_is_read_by_one_statement(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions = [put(store) for _ in range(20)]

        async def read() -> int:
            reader, asked = await reading(store), []
            begin = reader._begin_statement
            monkeypatch.setattr(reader, "_begin_statement", lambda: (asked.append(True), begin()))
            assert await asyncio.gather(*(store.aload(each.digest) for each in sessions)) == sessions
            return len(asked)

        assert run(read()) == 2

    def test_a_few_are_read_in_threads(self, store: DatabaseSessionStore) -> None:
        async def read() -> Reader | None:
            for _ in range(READ_IN_THREADS_FIRST):
                await store.aload("")
            return store.reader()

        reader = run(read())
        assert reader is not None and not reader._is_connecting and reader._connection is None

    def test_a_connection_that_breaks_costs_no_answer(self, store: DatabaseSessionStore) -> None:
        session = put(store)

        async def read() -> None:
            reader = await reading(store)
            for _ in range(2):
                assert reader._connection is not None
                pid = reader._connection.info.backend_pid
                await asyncio.to_thread(end_backend, store.alias, pid)
                assert await asyncio.gather(*(store.aload(session.digest) for _ in range(5))) == [session] * 5
                reader = await reading(store)
                assert reader._connection is not None and reader._connection.info.backend_pid != pid

        run(read())

    def test_who_waits_for_long_asks_in_a_thread(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session = put(store)

        async def read() -> None:
            reader = await reading(store)
            # As on a connection that a firewall has forgotten: it takes the question, and nothing comes back.
            monkeypatch.setattr(reader, "_send", lambda: None)
            assert await asyncio.gather(*(store.aload(session.digest) for _ in range(5))) == [session] * 5
            assert reader._connection is None
            monkeypatch.undo()
            await reading(store)
            assert await store.aload(session.digest) == session

        run(read())

    def test_a_derived_store_loads_in_its_own_way(self, store: DatabaseSessionStore, alias: str) -> None:
        session, derived = put(store), Derived(alias)
        try:
            found = [run(derived.aload(session.digest)) for _ in range(READ_IN_THREADS_FIRST + 2)]
            assert found == [None] * len(found)
        finally:
            derived.close()

    def test_a_mistake_in_the_settings_reaches_who_asks(self, store: DatabaseSessionStore) -> None:
        session = put(store)

        async def read() -> None:
            await reading(store)
            options = {"SESSION_SERIALIZER": "nowhere.Serializer"}
            with override_settings(MCP_SESSIONS=options), pytest.raises(ConfigurationError):
                await store.aload(session.digest)
            assert await store.aload(session.digest) == session

        run(read())

    def test_one_row_that_cannot_be_read_costs_no_other(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bad, good = put(store), put(store)
        read_one = reader_module.the_only_one

        def fail(rows: Sequence[Any], caller: Any) -> SessionRecord | None:
            if rows and rows[0][0] == bad.key:
                raise RecursionError("a value is nested too deeply")
            return read_one(rows, caller)

        async def read() -> list[Any]:
            await reading(store)
            monkeypatch.setattr(reader_module, "the_only_one", fail)
            with no_threads(store, monkeypatch):
                # The first is under way alone; the others go together.
                asked = [store.aload(digest) for digest in ("nobody's", bad.digest, good.digest)]
                return await asyncio.gather(*asked, return_exceptions=True)

        nobody, error, found = run(read())
        assert (nobody, found) == (None, good) and isinstance(error, RecursionError)

    @pytest.mark.parametrize("step", ["_send", "_finish_statement"])
    def test_whatever_goes_wrong_on_the_loop_is_logged_and_read_in_threads(
        self,
        store: DatabaseSessionStore,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        step: str,
    ) -> None:
        session = put(store)

        def fail() -> None:
            raise TypeError("nobody expected this")

        async def read() -> list[Any]:
            reader = await reading(store)
            monkeypatch.setattr(reader, step, fail)
            # Without this, only the time limit would help them.
            monkeypatch.setattr(reader_module, "ANSWER_SECONDS", DEADLINE)
            return await asyncio.gather(*(store.aload(session.digest) for _ in range(5)))

        assert run(read()) == [session] * 5
        assert "nobody expected this" in caplog.text

    def test_a_connection_that_cannot_be_made_is_tried_again(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        session, has_failed = put(store), threading.Event()

        def fail(*_: Any) -> str:
            has_failed.set()
            raise TypeError("nobody expected this")

        async def read() -> SessionRecord | None:
            with monkeypatch.context() as patched:
                patched.setattr(reader_module, "session_query", fail)
                while not has_failed.is_set():
                    await store.aload("")
            await reading(store)
            return await store.aload(session.digest)

        assert run(read()) == session

    def test_behind_a_pooler_the_reader_leaves_nothing_on_its_connections(
        self, store: DatabaseSessionStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it prepared there would be another client's with the next transaction."""
        monkeypatch.setattr(OwnConnection, "_is_pooled", lambda connection: True)
        session, made, statements = put(store), list[Any](), list[str]()

        def note(execute: Any, sql: str, *rest: Any) -> Any:
            statements.append(sql)
            return execute(sql, *rest)

        def make(alias: str) -> Any:
            made.append(own_connection(alias))
            made[-1].execute_wrappers.append(note)
            return made[-1]

        monkeypatch.setattr(reader_module, "own_connection", make)

        async def read() -> None:
            reader = store.reader()
            assert reader is not None
            while not made or made[-1].connection is not None or not made[-1].limits_transactions:
                assert await store.aload(session.digest) == session
            assert reader._connection is None

        run(read())
        assert len(made) == 1 and not [sql for sql in statements if "PREPARE" in sql or "SET" in sql]

    def test_on_a_loop_that_watches_no_sockets_sessions_are_read_in_threads(
        self, store: DatabaseSessionStore
    ) -> None:
        session = put(store)

        async def read() -> Reader | None:
            async with asyncio.timeout(DEADLINE):
                while (reader := store.reader()) is None or not math.isinf(reader._connects_at):
                    assert await store.aload(session.digest) == session
                assert await store.aload(session.digest) == session
            return reader

        with asyncio.Runner(loop_factory=LikeWindows) as runner:
            reader = runner.run(read())
        assert reader is not None and reader._connection is None

    def test_closing_the_store_gives_its_connection_back(self, store: DatabaseSessionStore) -> None:
        async def read() -> psycopg.Connection[Any] | None:
            connection = (await reading(store))._connection
            await asyncio.to_thread(store.close)
            return connection

        connection = run(read())
        assert connection is not None and connection.closed

    def test_another_loop_has_another_connection(self, store: DatabaseSessionStore) -> None:
        session = put(store)

        async def read() -> SessionRecord | None:
            await reading(store)
            return await store.aload(session.digest)

        assert [run(read()), run(read())] == [session, session]


def end_backend(alias: str, pid: int) -> None:
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    finally:
        connections[alias].close()
