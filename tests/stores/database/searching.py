"""What sessions are searched by has columns of its own, whatever clients say."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from mcp_sessions.models import Session
from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import put
from mcp_sessions.testing.store_contract.observing import reload

INDEXED = ("owner", "address", "client")
CLIENTS: dict[str, tuple[Any, str]] = {
    "name and version": ({"name": "Claude Code", "version": "2.1-RC"}, "claude code 2.1-rc"),
    "a name alone": ({"name": "inspector"}, "inspector"),
    "nothing": ({}, ""),
    "no object": (["name"], ""),
    "no text": ({"name": {"a": 1}, "version": 7}, ""),
    "what databases refuse": ({"name": "a\x00b\ud800", "version": "😀"}, "a\ufffdb\ufffd 😀"),
    "too much": ({"name": "İ" * 10_000, "version": "1"}, ("i\u0307" * 64)),
}


def columns(alias: str, session: SessionRecord) -> tuple[str, str]:
    row = Session.objects.using(alias).get(key=session.key)
    return row.client, row.address


class SearchedContract:
    @pytest.mark.parametrize("said", CLIENTS)
    def test_what_a_client_calls_itself(self, store: DatabaseSessionStore, alias: str, said: str) -> None:
        client, kept = CLIENTS[said]
        session = put(store, metadata={"client": client, "address": "2001:db8::1"})
        assert columns(alias, session) == (kept, "2001:db8::1")

    @pytest.mark.parametrize("said", CLIENTS)
    def test_it_may_say_so_later(self, store: DatabaseSessionStore, alias: str, said: str) -> None:
        """A guide session is opened by a GET, and initialized afterwards."""
        client, kept = CLIENTS[said]
        session = put(store, metadata={"address": "192.0.2.7"})
        assert columns(alias, session) == ("", "192.0.2.7")
        assert store.save_metadata(session.key, {"client": client})
        assert columns(alias, session) == (kept, "192.0.2.7")
        assert store.save_metadata(session.key, {"log_level": "info"})
        assert columns(alias, session) == (kept, "192.0.2.7")

    def test_an_address_is_no_longer_than_its_column(self, store: DatabaseSessionStore, alias: str) -> None:
        session = put(store, metadata={"address": "fe80::1%" + "e" * 100})
        assert columns(alias, session)[1] == "fe80::1%" + "e" * 56
        assert reload(store, session).metadata["address"] == "fe80::1%" + "e" * 100

    def test_an_opening_is_as_many_statements_as_before(
        self, store: DatabaseSessionStore, alias: str
    ) -> None:
        with CaptureQueriesContext(connections[alias]) as queries:
            put(store, metadata={"client": {"name": "a"}, "address": "192.0.2.7"})
        inserts = [query["sql"] for query in queries if query["sql"].startswith("INSERT")]
        writing = [query["sql"] for query in queries if query["sql"].startswith(("INSERT", "UPDATE"))]
        assert len(inserts) == 1
        # On SQLite a transaction begins with a statement that writes nothing.
        assert len([each for each in writing if "1 = 0" not in each]) == 1

    @pytest.mark.parametrize("column", INDEXED)
    def test_one_index_serves_prefixes(self, store: DatabaseSessionStore, alias: str, column: str) -> None:
        connection = connections[alias]
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, Session._meta.db_table)
            mine = [name for name, each in found.items() if each["columns"] == [column]]
            assert mine == [f"mcp_sessions_session_{column}"]
            if connection.vendor == "postgresql":
                cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = %s", mine)
                ((definition,),) = cursor.fetchall()
                assert "varchar_pattern_ops" in definition
