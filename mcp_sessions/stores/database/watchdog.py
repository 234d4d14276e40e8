"""Whoever waits for a database that accepts and answers nothing is waked."""

from __future__ import annotations

import threading
import time
from typing import Final

from mcp_sessions.stores.database.own import OwnConnection

LOOK_SECONDS: Final = 1.0


class Watchdog:
    """A thread that breaks off connections whose answer is late. No timeout of the drivers does that."""

    def __init__(self) -> None:
        self._watched: set[OwnConnection] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, connection: OwnConnection) -> None:
        with self._lock:
            self._watched.add(connection)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look_on, name="mcp-watchdog", daemon=True)
                self._thread.start()

    def forget(self, connection: OwnConnection) -> None:
        """Nothing runs on it any more; with the last one the thread ends."""
        with self._lock:
            self._watched.discard(connection)

    def _look_on(self) -> None:
        while self._is_needed():
            time.sleep(LOOK_SECONDS)
            self.look()

    def _is_needed(self) -> bool:
        with self._lock:
            if not self._watched:
                self._thread = None
            return self._thread is not None

    def look(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = [each for each in self._watched if each.late_at <= now]
        for connection in late:
            connection.break_off()
