"""What the verbs cost."""

from __future__ import annotations

from django.db import connections
from django.test.utils import CaptureQueriesContext

from mcp_sessions.models import Stream
from mcp_sessions.records import Append, Send, Touch
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import written_by


def statements(queries: CaptureQueriesContext) -> list[str]:
    return [query["sql"] for query in queries if not query["sql"].startswith(("BEGIN", "COMMIT"))]


class CostContract:
    def test_loading_is_one_query(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        with CaptureQueriesContext(connections[alias]) as queries:
            store.load(session.digest)
        assert len(queries) == 1

    def test_uses_of_many_sessions_are_written_by_one_statement(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        touches = [Touch(put(store).key, NOW, NOW + HOUR, NOW + HOUR, requests=1) for _ in range(50)]
        with CaptureQueriesContext(connections[alias]) as queries:
            store.touch(touches)
        writing = [each for each in statements(queries) if each.startswith("UPDATE") and "1 = 0" not in each]
        assert len(writing) == 1
        assert len(statements(queries)) <= 3

    def test_a_batch_is_few_statements(self, store: DatabaseSessionStore, alias: str) -> None:
        names = [put_stream(store) for _ in range(8)]
        with CaptureQueriesContext(connections[alias]) as queries:
            store.append([Append(names[n % 8], messages(f"{n}")) for n in range(64)])
        assert len(statements(queries)) <= 5

    def test_so_are_events_for_many_sessions(self, store: DatabaseSessionStore, alias: str) -> None:
        sessions = [put(store) for _ in range(8)]
        for session in sessions:
            put_read(store, session)
        with CaptureQueriesContext(connections[alias]) as queries:
            store.append([Send(sessions[n % 8].key, "message", f"{n}") for n in range(64)])
        assert len(statements(queries)) <= 7

    def test_a_stream_opens_by_few_statements(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store)
        with CaptureQueriesContext(connections[alias]) as queries:
            put_read(store, session)
        # On SQLite and MariaDB there is one more: the write that begins, or the clock.
        assert len(statements(queries)) <= 4

    def test_events_are_sorted_only_where_some_are_too_much(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        names = [put_read(store, put(store)) for _ in range(3)]
        store.append([Append(name, messages("1", "2")) for name in names])
        with CaptureQueriesContext(connections[alias]) as queries:
            assert store.trim(names, 10, NOW) == 0
        assert not any("OVER" in each for each in statements(queries))

    def test_what_waits_is_added_up_now_and_then_only(self, store: DatabaseSessionStore, alias: str) -> None:
        """While nobody reads the stream, and the messages are small."""
        session = put(store)
        store.append([Send(session.key, "message", "first")])
        with CaptureQueriesContext(connections[alias]) as queries:
            for _ in range(30):
                store.append([Send(session.key, "message", "small")])
        assert not any("SUM(" in each for each in statements(queries))
        with CaptureQueriesContext(connections[alias]) as queries:
            store.append([Send(session.key, "message", "the 32nd")])
        assert sum("SUM(" in each for each in statements(queries)) == 1

    def test_reading_and_looking_for_news_are_one_query(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        names = [put_stream(store) for _ in range(8)]
        store.append([Append(name, messages("a", "b")) for name in names])
        with CaptureQueriesContext(connections[alias]) as queries:
            store.read(names[0], 0, 10)
            store.find_streams(names)
            store.changes(0)
            written_by(store, "worker")
        assert len(queries) == 4

    def test_nothing_indexed_changes_when_events_are_added(self) -> None:
        """Besides what never changes: who writes and reads a stream, and since when it is idle."""
        constrained = {name for constraint in Stream._meta.constraints for name in constraint.fields}  # type: ignore[attr-defined]
        indexed = {
            field.name
            for field in Stream._meta.concrete_fields
            if field.unique or getattr(field, "db_index", False)
        }
        indexed |= {name for index in Stream._meta.indexes for name in index.fields}
        assert indexed | constrained == {"id", "name", "session", "writer", "reader", "idle_since"}
