"""The database store keeps the contract on SQLite, PostgreSQL and MariaDB."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db import OperationalError, connections, transaction
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

from mcp_sessions.analytics.errors import with_store_errors
from mcp_sessions.analytics.refusals import store_refusals
from mcp_sessions.conf import Rate
from mcp_sessions.exceptions import InvalidSessionData, StoreBusy, StoreUnavailable
from mcp_sessions.gcra import Charge
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.models import RateLimit, RefusalHour, Session, Stream
from mcp_sessions.records import Append, Refusal, RefusalCount, Send, Touch
from mcp_sessions.stores.database import DatabaseSessionStore, streams
from mcp_sessions.stores.database.batches import give_positions
from mcp_sessions.stores.database.connections import PREPARED_AFTER, OwnConnection
from mcp_sessions.stores.database.streams import get_streams
from mcp_sessions.stores.database.transactions import writing
from mcp_sessions.testing.store_contract.attachments import reader_of
from mcp_sessions.testing.store_contract.builders import NOW, apost, messages, post, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import stream_of, together
from mcp_sessions.testing.store_contract.workers import TIMEOUT
from tests.stores.database.aliases import another_alias, in_thread, on
from tests.stores.database.contract import DatabaseContract
from tests.stores.database.fixtures import DatabaseFixtures
from tests.stores.database.servers import ServerContract

NO_SUCH_THREAD: Final = 1094


async def refused(work: Coroutine[Any, Any, Any]) -> type[Exception] | None:
    """What it raises; None if it was done."""
    try:
        await work
    except StoreUnavailable as error:
        return type(error)
    return None


def test_no_test_hides_another() -> None:
    """The contract is made of many classes, and of two tests with one name only one would run."""
    own = [name for each in ServerContract.__mro__ for name in vars(each) if name.startswith("test_")]
    assert sorted(own) == sorted(set(own))


@on("default")
class TestDefault(DatabaseContract):
    @pytest.fixture
    def alias(self) -> str:
        return "default"

    @pytest.fixture(autouse=True)
    def note_who_begins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The threads that wait for SQLite's one lock, with which each transaction begins."""
        threads, begin = set[int](), SQLite._start_transaction_under_autocommit

        def note(connection: SQLite) -> None:
            threads.add(threading.get_ident())
            try:
                begin(connection)
            finally:
                threads.discard(threading.get_ident())

        monkeypatch.setattr(SQLite, "_start_transaction_under_autocommit", note)
        self.beginning = threads

    def is_somebody_waiting(self, alias: str) -> bool:
        return connections[alias].vendor != "sqlite" or self.beginning != set()

    def test_there_is_a_migration_for_every_change(self) -> None:
        call_command("makemigrations", "mcp_sessions", check=True, dry_run=True, verbosity=0)

    def test_the_app(self) -> None:
        app = apps.get_app_config("mcp_sessions")
        assert (app.verbose_name, app.default_auto_field) == ("MCP sessions", "django.db.models.BigAutoField")

    def test_positions_are_given_out_without_a_database(self) -> None:
        assert give_positions([[Append("a", messages("x"))], []], []).placed == [(), ()]


@pytest.mark.skipif(
    "sqlite" not in settings.DATABASES["default"]["ENGINE"], reason="the default is no SQLite"
)
@on("default")
class TestSQLite(DatabaseFixtures):
    @pytest.fixture
    def alias(self) -> str:
        return "default"

    def test_transactions_that_are_deferred_do_not_fail(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """Without IMMEDIATE each transaction still begins with its write."""
        session = put(store, metadata={})
        with another_alias(alias, "deferred", OPTIONS={"timeout": 20}) as deferred:
            stream = put_read(deferred, session)
            together(
                *(deferred.asave_metadata(session.key, {f"{n}": n}) for n in range(20)),
                *(deferred.atouch([Touch(session.key, NOW, NOW, NOW, requests=1)]) for _ in range(20)),
                *(deferred.aappend([Append(stream, messages("a"))]) for _ in range(20)),
                *(deferred.aappend([Send(session.key, "message", "b")]) for _ in range(20)),
                *(deferred.aopen_stream(session.key, new_stream_name(), "post", "w") for _ in range(20)),
                *(deferred.amark_delivered("reader", {stream: 1}) for _ in range(20)),
                *(deferred.aattach(session.key, stream, "reader", 0, 3) for _ in range(20)),
                *(apost(deferred, session.key, "1") for _ in range(20)),
                *(deferred.apurge(NOW, 10) for _ in range(20)),
                *(deferred.adelete_unreachable(NOW, 10) for _ in range(20)),
                *(deferred.atrim([stream], 100, NOW) for _ in range(20)),
                *(deferred.aenlist(f"worker {n}") for n in range(20)),
                *(deferred.atake_over("lost", "heir", 10) for _ in range(20)),
                *(deferred.afind_lost(TIMEOUT) for _ in range(20)),
                *(deferred.aleave("worker") for _ in range(20)),
            )
        found = store.load(session.digest)
        assert found is not None
        assert (found.requests, found.inbox) == (20, 20)
        assert len(found.metadata) == 20
        assert stream_of(store, stream).position == 40

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


@on("postgres")
class TestPostgreSQL(ServerContract):
    asks_for_limit, limit = "SHOW lock_timeout", "2s"

    @pytest.fixture
    def alias(self) -> str:
        return "postgres"

    def is_somebody_waiting(self, alias: str) -> bool:
        with connections[alias].cursor() as cursor:
            for_this_one = "pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            cursor.execute(f"SELECT 1 FROM pg_locks WHERE NOT granted AND {for_this_one}")
            return cursor.fetchone() is not None

    def kill_the_others(self, alias: str) -> None:
        with connections[alias].cursor() as cursor:
            others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            cursor.execute(f"SELECT pg_terminate_backend(pid, 5000) {others}")

    def test_a_database_that_only_reads_for_a_while(self, store: DatabaseSessionStore, alias: str) -> None:
        """What a failover leaves: connections to a server that takes no writes, old ones and new ones."""
        session = put(store)
        stream = put_stream(store, session)
        together(*(store.aload(session.digest) for _ in range(20)))
        with self.only_reading(alias):
            for _ in range(2):
                answers = together(
                    *(store.aload(session.digest) for _ in range(20)),
                    *(refused(store.aappend([Append(stream, messages("a"))])) for _ in range(8)),
                )
                assert answers == [session] * 20 + [StoreUnavailable] * 8
        assert (
            together(*(refused(store.aappend([Append(stream, messages("a"))])) for _ in range(8)))
            == [None] * 8
        )

    def test_a_callers_transaction_that_only_reads(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        with pytest.raises(StoreUnavailable, match="read-only"), transaction.atomic(using=alias):
            with connections[alias].cursor() as cursor:
                cursor.execute("SET TRANSACTION READ ONLY")
            store.save_metadata(session.key, {"a": 1})
        assert store.load(session.digest) == session

    @contextmanager
    def only_reading(self, alias: str) -> Iterator[None]:
        name = connections[alias].settings_dict["NAME"]
        with connections[alias].cursor() as cursor:
            cursor.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            self.kill_the_others(alias)
            try:
                yield
            finally:
                cursor.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')

    def test_behind_a_pooler_limits_end_with_their_transaction(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """A setting of the connection would be somebody else's with the next transaction."""

        def limit() -> str:
            with connections[alias].cursor() as cursor:
                cursor.execute(self.asks_for_limit)
                return str(cursor.fetchone()[0])

        def limits() -> list[str]:
            connection: Any = connections[alias]
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
            connection.limits_transactions = True
            with writing(alias):
                within = limit()
            return [within, limit()]

        assert together(store.arun(limits)) == [[self.limit, "0"]]

    def test_statements_that_run_often_are_prepared(self, store: DatabaseSessionStore, alias: str) -> None:
        """And the plan that is kept uses an index, however small the tables were when it was made."""
        session = put(store)

        def prepared() -> list[str]:
            for _ in range(PREPARED_AFTER + 1):
                assert store.load(session.digest) == session
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT statement FROM pg_prepared_statements")
                return [statement for (statement,) in cursor.fetchall()]

        def plan() -> str:
            with connections[alias].cursor() as cursor:
                cursor.execute(f"EXPLAIN SELECT 1 FROM {Stream._meta.db_table} WHERE name = 'a'")
                return str(cursor.fetchall())

        (found,), (way,) = together(store.arun(prepared)), together(store.arun(plan))
        assert any(Session._meta.db_table in statement for statement in found)
        assert "Index" in way and "Seq Scan" not in way

    def test_behind_a_pooler_nothing_is_prepared(
        self, store: DatabaseSessionStore, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(OwnConnection, "_is_pooled", lambda connection: True)
        session = put(store)

        def prepared() -> list[Any]:
            for _ in range(PREPARED_AFTER + 1):
                assert store.load(session.digest) == session
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT statement FROM pg_prepared_statements")
                found = cursor.fetchall()
                cursor.execute("SHOW enable_seqscan")
                return [*found, *cursor.fetchone()]

        assert together(store.arun(prepared)) == [["on"]]

    def test_a_migration_that_changes_a_type_costs_no_request(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """PostgreSQL refuses statements that were prepared before it, again and again."""
        session = put(store)
        column = f"ALTER TABLE {Session._meta.db_table} ALTER COLUMN end_reason TYPE"
        own_type = Session._meta.get_field("end_reason").db_type(connections[alias])

        def load(times: int) -> list[bool]:
            return [store.load(session.digest) == session for _ in range(times)]

        def migrate(new_type: str | None) -> None:
            with connections[alias].cursor() as cursor:
                cursor.execute(f"{column} {new_type}")

        assert all(together(store.arun(load, PREPARED_AFTER + 1))[0])
        try:
            together(store.arun(migrate, "varchar(1000)"))
            assert together(store.arun(load, 1)) == [[True]]
        finally:
            migrate(own_type)

    def test_behind_a_pooler_single_statements_wait_no_longer_for_a_row(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """They need no transaction elsewhere. A thread that waited for STORE_TIMEOUT would be missed."""
        session, charge = put(store), Charge("a", Rate(5, 60, 5))
        store.charge(charge)
        stream = put_read(store, session, "worker")
        store.append([Append(stream, messages("a"))])

        def is_refused(statement: Callable[[], object]) -> bool:
            connection: Any = connections[alias]
            with connection.cursor() as cursor:
                cursor.execute("RESET lock_timeout")
            connection.limits_transactions = True
            with pytest.raises(StoreBusy):
                statement()
            return True

        with transaction.atomic(using=alias):
            Session.objects.using(alias).select_for_update().get(key=session.key)
            RateLimit.objects.using(alias).select_for_update().get(name="a")
            Stream.objects.using(alias).select_for_update().get(name=stream)
            for statement in (
                partial(store.save_metadata, session.key, {"a": 1}),
                partial(store.charge, charge),
                partial(store.read, stream, 0, 10, worker="worker"),
            ):
                with ThreadPoolExecutor(1) as executor:
                    waiting = executor.submit(together, store.arun(is_refused, statement))
                    assert waiting.result(timeout=120) == [True]

    def test_behind_a_pooler_refusals_are_waited_for_no_longer(
        self, store: DatabaseSessionStore, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor is any other transaction that the app has in the threads of the store."""
        monkeypatch.setattr(OwnConnection, "_is_pooled", lambda connection: True)
        counted = [RefusalCount(Refusal("/mcp", "rate_limit", "192.0.2.1"), NOW)]
        store_refusals(alias, counted)
        with transaction.atomic(using=alias):
            RefusalHour.objects.using(alias).select_for_update().get()
            waiting = store.arun(with_store_errors, alias, store_refusals, alias, counted)
            with ThreadPoolExecutor(1) as executor, pytest.raises(StoreUnavailable, match="lock timeout"):
                executor.submit(together, waiting).result(timeout=120)

    def test_a_stream_that_is_displaced_while_it_opens(
        self, store: DatabaseSessionStore, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between the statement that opens it and the one that looks at the session's others."""
        session, name = put(store), new_stream_name()
        attach = partial(store.attach, session.key, seen=0, limit=1, is_new=True)
        opening = [partial(attach, name=new_stream_name(), worker="another")]

        def get_streams_later(*args: Any) -> Any:
            while opening:
                in_thread(alias, opening.pop())
            return get_streams(*args)

        monkeypatch.setattr(streams, "get_streams", get_streams_later)
        assert attach(name=name, worker="worker") is not None
        assert reader_of(store, name) == "worker"

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
    asks_for_limit, limit = "SHOW VARIABLES LIKE 'innodb_lock_wait_timeout'", "2"

    @pytest.fixture
    def alias(self) -> str:
        return "mariadb"

    def test_no_column_is_compared_by_a_collation_of_the_server(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        """A table of a later migration needs the same, and a column has its table's."""
        tables = [model._meta.db_table for model in apps.get_app_config("mcp_sessions").get_models()]
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT collation_name FROM information_schema.columns"
                " WHERE table_schema = DATABASE() AND table_name IN %s AND collation_name IS NOT NULL",
                [tables],
            )
            assert cursor.fetchall() == (("utf8mb4_bin",),)

    def is_somebody_waiting(self, alias: str) -> bool:
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM information_schema.innodb_trx"
                " JOIN information_schema.processlist ON id = trx_mysql_thread_id"
                " WHERE trx_state = 'LOCK WAIT' AND db = DATABASE()"
            )
            return cursor.fetchone() is not None

    def kill_the_others(self, alias: str) -> None:
        with connections[alias].cursor() as cursor:
            others = "FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            cursor.execute(f"SELECT id {others}")
            for (thread,) in cursor.fetchall():
                try:
                    cursor.execute("KILL %s", [thread])
                except OperationalError as error:
                    # It was ending, and is gone by now.
                    if error.args[0] != NO_SUCH_THREAD:
                        raise

    def test_what_is_too_long_for_a_packet_is_refused_alone(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT @@max_allowed_packet")
            (most,) = cursor.fetchone()
        session = put(store)
        stream = put_stream(store, session)
        # Half of it is doubled on the way.
        for too_long in ("a" * most, '"' * (most // 2 + 1)):
            with pytest.raises(InvalidSessionData, match="max_allowed_packet"):
                together(store.aappend([Append(stream, messages("a")), Append(stream, messages(too_long))]))
            with pytest.raises(InvalidSessionData, match="max_allowed_packet"):
                post(store, session.key, too_long)
        long = "a" * (most - 10_000)
        assert together(store.aappend([Append(stream, messages(long))])) == [[((stream, 1),)]]

    def test_no_worker_dies_of_summer_time(self, store: DatabaseSessionStore, alias: str) -> None:
        """The clock by which workers beat is not that of the server's time zone."""
        with connections[alias].cursor() as cursor:
            try:
                cursor.execute("SET time_zone = '+01:00'")
                store.enlist("worker")
                cursor.execute("SET time_zone = '+02:00'")
                assert store.find_lost(TIMEOUT) == []
            finally:
                cursor.execute("SET time_zone = DEFAULT")
