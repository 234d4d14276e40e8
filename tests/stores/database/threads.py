"""The store's threads and their connections."""

from __future__ import annotations

import os
import threading
import warnings

from django.db import connections

from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import put
from mcp_sessions.testing.store_contract.observing import together
from tests.stores.database.aliases import until


class ThreadContract:
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
