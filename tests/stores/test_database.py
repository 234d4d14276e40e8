"""The database store keeps the contract on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import asyncio
import copy
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import IntegrityError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext

from mcp_sessions.exceptions import DuplicateIdentifier, InvalidSessionData, StoreUnavailable
from mcp_sessions.identifiers import digest_of, new_stream_name
from mcp_sessions.models import Session, Stream, StreamEvent, Subscription
from mcp_sessions.records import Append, Touch
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.stores.database.appending import give_positions
from tests.stores.contract import (
    NOW,
    REFUSED_DATA,
    StoreContract,
    make_session,
    messages,
    put,
    put_stream,
    texts,
    together,
)


def on(alias: str) -> pytest.MarkDecorator:
    """Let the tests use this database, if it is there: the fixture `store` skips them if not."""
    return pytest.mark.django_db(transaction=True, databases=[alias] if alias in settings.DATABASES else [])


def until(condition: Callable[[], bool], seconds: float = 10, every: float = 0.005) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(every)


def in_thread(alias: str, work: Callable[[], Any]) -> Any:
    """Run this on another connection of the database."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections[alias].close()

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(run).result(timeout=30)


def rows_of(alias: str) -> list[int]:
    return [model.objects.using(alias).count() for model in (Session, Stream, StreamEvent, Subscription)]


@contextmanager
def another_alias(alias: str, name: str, **changes: Any) -> Iterator[DatabaseSessionStore]:
    """A store in the same database by another alias, with other settings."""
    guarded = BaseDatabaseWrapper.ensure_connection

    def ensure_connection(connection: BaseDatabaseWrapper) -> None:
        """Past Django's guard, which knows the aliases that were there when the test began."""
        if connection.alias != name:
            guarded(connection)
        elif connection.connection is None:
            with connection.wrap_database_errors:
                connection.connect()

    connections.databases[name] = {**copy.deepcopy(connections.databases[alias]), **changes}
    store = DatabaseSessionStore(name)
    try:
        with mock.patch.object(BaseDatabaseWrapper, "ensure_connection", ensure_connection):
            yield store
    finally:
        store.close()
        connections[name].close()
        del connections[name]
        del connections.databases[name]


class DatabaseContract(StoreContract):
    """What the database store promises besides."""

    # -- what is written, and what is not ------------------------------------------------

    @pytest.mark.parametrize("data", REFUSED_DATA)
    def test_a_create_that_fails_writes_nothing(
        self, store: DatabaseSessionStore, alias: str, data: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidSessionData):
            store.create(make_session(data=data))
        assert rows_of(alias) == [0, 0, 0, 0]

    def test_a_taken_identifier_writes_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        with pytest.raises(DuplicateIdentifier):
            store.create(make_session(digest=session.digest))
        assert rows_of(alias) == [1, 0, 0, 0]

    def test_a_taken_name_of_a_stream(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        name = put_stream(store, session)
        with pytest.raises(DuplicateIdentifier):
            store.open_stream(session.key, name, "get")
        assert rows_of(alias) == [1, 1, 0, 0]

    def test_a_batch_that_fails_writes_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        name, other = put_stream(store), put_stream(store)
        stream = Stream.objects.using(alias).get(name=other)
        in_the_way = StreamEvent.objects.using(alias).create(stream=stream, position=2, created_at=NOW)
        batch = [Append(name, messages("a")), Append(other, messages("b", "c"))]
        with pytest.raises(IntegrityError):
            store.append(batch)
        assert rows_of(alias) == [2, 2, 1, 0]
        in_the_way.delete()
        assert store.append(batch) == [1, 1]

    def test_purge_leaves_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store, expires_at=NOW)
        names = [put_stream(store, session, "post") for _ in range(310)]
        store.append([Append(name, messages("a", "b")) for name in names])
        store.subscribe(session.key, "file:///a")
        assert rows_of(alias) == [1, 310, 620, 1]
        assert store.purge(NOW, 500) == 1
        assert rows_of(alias) == [0, 0, 0, 0]

    def test_the_caller_rolls_back(self, store: DatabaseSessionStore, alias: str) -> None:
        """A plain verb is part of the transaction it is called in; a refusal does not spoil it."""
        session = put(store)
        with transaction.atomic(using=alias):
            name = put_stream(store, session)
            with pytest.raises(DuplicateIdentifier):
                store.create(make_session(digest=session.digest))
            assert store.append([Append(name, messages("a"))]) == [1]
            transaction.set_rollback(True, using=alias)
        assert rows_of(alias) == [1, 0, 0, 0]

    def test_rows_are_named_by_what_opens_nothing(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        name = put_stream(store, session)
        store.append([Append(name, messages("a"))])
        store.subscribe(session.key, "file:///a")
        rows = [model.objects.using(alias).get() for model in (Session, Stream, StreamEvent, Subscription)]
        assert [str(row) for row in rows] == [session.key, name, "message 1", "file:///a"]

    # -- what it costs -------------------------------------------------------------------

    def test_loading_is_one_query(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        with CaptureQueriesContext(connections[alias]) as queries:
            store.load(session.digest)
        assert len(queries) == 1

    def test_a_batch_is_few_statements(self, store: DatabaseSessionStore, alias: str) -> None:
        names = [put_stream(store) for _ in range(8)]
        with CaptureQueriesContext(connections[alias]) as queries:
            store.append([Append(names[n % 8], messages(f"{n}")) for n in range(64)])
        statements = [query["sql"] for query in queries if not query["sql"].startswith(("BEGIN", "COMMIT"))]
        assert len(statements) <= 4

    def test_nothing_indexed_changes_when_events_are_added(self) -> None:
        constrained = {name for constraint in Stream._meta.constraints for name in constraint.fields}  # type: ignore[attr-defined]
        indexed = {
            field.name
            for field in Stream._meta.concrete_fields
            if field.unique or getattr(field, "db_index", False)
        }
        assert indexed | constrained == {"id", "name", "session"}

    # -- concurrency ---------------------------------------------------------------------

    def test_a_reader_never_skips_a_position_whoever_commits_first(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """The writer that has 1 and is slow to commit holds up the one that would have 2."""
        name = put_stream(store)
        second: list[list[int | None]] = []

        def append_second() -> None:
            second.append(together(store.aappend([Append(name, messages("second"))]))[0])

        with transaction.atomic(using=alias):
            assert store.append([Append(name, messages("first"))]) == [1]
            thread = threading.Thread(target=append_second)
            thread.start()
            # MariaDB refreshes what it says of locks only after 0.1 s without a question.
            until(lambda: bool(second) or self.is_somebody_waiting(alias), every=0.15)
            assert together(store.aread(name, 0, 10)) == [[]]
            assert not second
        thread.join(timeout=30)
        assert second == [[2]]
        assert texts(store.read(name, 0, 10)) == ["first", "second"]

    def is_somebody_waiting(self, alias: str) -> bool:
        raise NotImplementedError

    # -- threads -------------------------------------------------------------------------

    def test_awaited_verbs_run_in_threads_of_the_store(self, store: DatabaseSessionStore) -> None:
        threads = set(together(*(store.arun(threading.current_thread) for _ in range(40))))
        assert 1 <= len(threads) <= 4
        assert all(thread.name.startswith("mcp-store") for thread in threads)

    def test_threads_keep_their_connections(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)

        def load() -> int:
            store.load(session.digest)
            return id(connections[alias].connection)

        first = set(together(*(store.arun(load) for _ in range(40))))
        second = set(together(*(store.arun(load) for _ in range(40))))
        assert len(first | second) <= 4

    def test_closing_gives_back_threads_and_connections(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        together(*(store.aload("") for _ in range(20)))
        used = store._own_threads().connections
        threads = set(together(*(store.arun(threading.current_thread) for _ in range(20))))
        assert any(connection.connection is not None for connection in used)
        store.close()
        assert all(connection.connection is None for connection in used)
        assert not any(thread.is_alive() for thread in threads)

    def test_a_forked_process_makes_threads_of_its_own(self, store: DatabaseSessionStore) -> None:
        session = put(store)
        assert together(store.aload(session.digest)) == [session]
        with warnings.catch_warnings():
            # Newer Pythons warn of a fork with threads, which is what is tried here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if together(store.aload(session.digest)) == [session] else 2
                store.close()
            finally:
                os._exit(status)
        assert self.exit_status(child) == 0
        assert together(*(store.aload(session.digest) for _ in range(8))) == [session] * 8

    def exit_status(self, child: int) -> int:
        ended: list[int] = []

        def has_ended() -> bool:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(ended)

        until(has_ended, 30)
        return ended[0]

    # -- broken connections --------------------------------------------------------------

    def test_a_failed_commit_is_not_tried_again(
        self, store: DatabaseSessionStore, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commits = []

        def commit() -> None:
            commits.append(1)
            raise OperationalError("the connection was lost")

        monkeypatch.setattr(connections[alias], "commit", commit)
        with pytest.raises(StoreUnavailable, match="unknown"):
            store.create(make_session())
        assert len(commits) == 1

    def test_a_database_that_is_not_there(self, store: DatabaseSessionStore, alias: str) -> None:
        settings = {"NAME": "/nowhere/at/all", "HOST": "127.0.0.1", "PORT": "1"}
        with another_alias(alias, "nowhere", **settings) as nowhere:
            with pytest.raises(StoreUnavailable):
                nowhere.load(digest_of("a"))
            with pytest.raises(StoreUnavailable):
                together(nowhere.aappend([Append(new_stream_name(), messages("a"))]))


@on("default")
class TestDefault(DatabaseContract):
    @pytest.fixture
    def alias(self) -> str:
        return "default"

    def is_somebody_waiting(self, alias: str) -> bool:
        # SQLite does not say; whoever writes waits, or the assertion that follows fails.
        return True

    def test_there_is_a_migration_for_every_change(self) -> None:
        call_command("makemigrations", "mcp_sessions", check=True, dry_run=True, verbosity=0)

    def test_the_app(self) -> None:
        app = apps.get_app_config("mcp_sessions")
        assert (app.verbose_name, app.default_auto_field) == ("MCP sessions", "django.db.models.BigAutoField")

    def test_positions_are_given_out_without_a_database(self) -> None:
        assert give_positions([Append("a", messages("x"))], []).positions == [None]


@pytest.mark.skipif(
    "sqlite" not in settings.DATABASES["default"]["ENGINE"], reason="the default is no SQLite"
)
@on("default")
class TestSQLite:
    @pytest.fixture
    def alias(self) -> str:
        return "default"

    def test_transactions_that_are_deferred_do_not_fail(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """Without IMMEDIATE each transaction still begins with its write."""
        session = put(store, metadata={})
        with another_alias(alias, "deferred", OPTIONS={"timeout": 20}) as deferred:
            stream = put_stream(deferred, session)
            together(
                *(deferred.asave_metadata(session.key, {f"{n}": n}) for n in range(20)),
                *(deferred.atouch([Touch(session.key, NOW, NOW, requests=1)]) for _ in range(20)),
                *(deferred.aappend([Append(stream, messages("a"))]) for _ in range(20)),
                *(deferred.aopen_stream(session.key, new_stream_name(), "post") for _ in range(20)),
                *(deferred.amark_delivered({stream: n}) for n in range(20)),
                *(deferred.atake_over(session.key, stream, []) for n in range(20)),
                *(deferred.apurge(NOW, 10) for n in range(20)),
            )
        found = store.load(session.digest)
        assert found is not None
        assert found.metadata["requests"] == 20
        assert len(found.metadata) == 22
        assert len(store.read(stream, 0, 100)) == 20

    def test_a_database_that_stays_locked_is_unavailable(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        with another_alias(alias, "impatient", OPTIONS={"timeout": 0}) as impatient:
            with transaction.atomic(using=alias):
                store.save_metadata(session.key, {"a": 1})
                with pytest.raises(StoreUnavailable, match="locked"):
                    together(impatient.asave_metadata(session.key, {"b": 1}))
            assert together(impatient.asave_metadata(session.key, {"b": 1})) == [True]


class ServerContract(DatabaseContract):
    """What is promised where the database is a server, and may be restarted."""

    def kill_the_others(self, alias: str) -> None:
        """End every other connection to the database, from the server's side."""
        raise NotImplementedError

    def test_the_store_finds_back_after_its_connections_were_killed(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        name = put_stream(store, session)
        together(*(store.aload(session.digest) for _ in range(20)))
        for n in range(3):
            self.kill_the_others(alias)
            answers = together(*(store.aappend([Append(name, messages("a"))]) for _ in range(8)))
            assert sorted(answer[0] or 0 for answer in answers) == list(range(8 * n + 1, 8 * n + 9))
            self.kill_the_others(alias)
            assert together(*(store.aload(session.digest) for _ in range(8))) == [session] * 8

    def test_the_callers_connection_is_found_back_too(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        in_thread(alias, lambda: self.kill_the_others(alias))
        assert store.load(session.digest) == session
        in_thread(alias, lambda: self.kill_the_others(alias))
        assert store.save_metadata(session.key, {"a": 1})

    def test_nothing_is_tried_again_inside_the_callers_transaction(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        session = put(store)
        with pytest.raises(StoreUnavailable), transaction.atomic(using=alias):
            store.save_metadata(session.key, {"first": 1})
            in_thread(alias, lambda: self.kill_the_others(alias))
            store.save_metadata(session.key, {"second": 1})
        assert store.load(session.digest) == session

    def test_a_connection_that_was_closed_under_it(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        connections[alias].connection.close()
        assert store.load(session.digest) == session
        connections[alias].connection.close()
        assert store.append([Append(new_stream_name(), messages("a"))]) == [None]

    def test_appends_to_many_streams_in_any_order(self, store: DatabaseSessionStore) -> None:
        """Batches that name the same streams in different orders, while sessions end: no deadlock."""
        sessions = [put(store) for _ in range(4)]
        names = [put_stream(store, session) for session in sessions for _ in range(5)]
        batches = [[Append(name, messages("a")) for name in names[:: (-1) ** n]] for n in range(24)]

        async def work() -> None:
            ends = (store.aend(session.key, NOW, "deleted") for session in sessions[2:])
            delivered = (store.amark_delivered(dict.fromkeys(names, n)) for n in range(8))
            await asyncio.gather(*map(store.aappend, batches), *ends, *delivered)

        asyncio.run(work())
        assert [len(store.read(name, 0, 100)) for name in names[:10]] == [24] * 10


@on("postgres")
class TestPostgreSQL(ServerContract):
    @pytest.fixture
    def alias(self) -> str:
        return "postgres"

    def is_somebody_waiting(self, alias: str) -> bool:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            return cursor.fetchone() is not None

    def kill_the_others(self, alias: str) -> None:
        with connections[alias].cursor() as cursor:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            cursor.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}")

    def test_rows_of_streams_have_room(self, store: DatabaseSessionStore, alias: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT reloptions FROM pg_class WHERE relname = %s", [Stream._meta.db_table])
            assert cursor.fetchone() == (["fillfactor=50"],)

    def test_the_store_takes_nothing_from_a_pool(self, store: DatabaseSessionStore, alias: str) -> None:
        """Its threads keep connections of their own: the pool's would be missed by everybody else."""
        session = put(store)
        options = {"pool": {"min_size": 4, "max_size": 4}}
        with another_alias(alias, "pooled", OPTIONS=options) as pooled:
            together(*(pooled.aload(session.digest) for _ in range(20)))
            self.kill_the_others(alias)
            assert together(*(pooled.aload(session.digest) for _ in range(20))) == [session] * 20
            pooled_connection: Any = connections["pooled"]
            # In this thread, and so for the rest of the project, the pool is there, and was never asked.
            assert pooled_connection.pool.get_stats().get("requests_num", 0) == 0
            pooled_connection.close_pool()


@on("mariadb")
class TestMariaDB(ServerContract):
    @pytest.fixture
    def alias(self) -> str:
        return "mariadb"

    def is_somebody_waiting(self, alias: str) -> bool:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'")
            return cursor.fetchone() is not None

    def kill_the_others(self, alias: str) -> None:
        with connections[alias].cursor() as cursor:
            others = "FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            cursor.execute(f"SELECT id {others}")
            for (thread,) in cursor.fetchall():
                cursor.execute("KILL %s", [thread])
