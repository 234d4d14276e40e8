"""Work that would wait for other work anyway waits for it here, and not in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar

R = TypeVar("R")
Piece = tuple["Future[Any]", Callable[[], Any]]

LOCKING: Final = frozenset(
    {
        *("lease", "renew", "release", "save_metadata", "subscribe", "unsubscribe", "warn", "end"),
        *("open_stream", "attach", "add_request", "drop_request"),
    }
)
"""Verbs that lock the row of the session that they name first."""


def row_of(verb: str, args: tuple[Any, ...]) -> str | None:
    """What a verb locks, if it is one row. A batch that has only one is as good as that."""
    if verb in LOCKING and args:
        return str(args[0])
    if verb == "append" and args:
        rows = {getattr(item, "stream", None) or item.session for item in args[0]}
        return rows.pop() if len(rows) == 1 else None
    return None


class Turns:
    """Hands work to an executor: of what concerns one row, one piece at a time."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Piece]] = {}
        """The rows that something is done with, and what is to be done next."""

    def submit(self, row: str | None, work: Callable[[], R]) -> Future[R]:
        if row is None:
            return self._executor.submit(work)
        future: Future[R] = Future()
        with self._lock:
            if row in self._waiting:
                self._waiting[row].append((future, work))
                return future
            self._waiting[row] = deque()
        self._executor.submit(self._run, row, (future, work))
        return future

    def _run(self, row: str, piece: Piece) -> None:
        try:
            _fulfil(*piece)
        finally:
            self._go_on(row)

    def _go_on(self, row: str) -> None:
        """Behind what others have brought meanwhile."""
        while (piece := self._next(row)) is not None:
            try:
                self._executor.submit(self._run, row, piece)
                return
            except RuntimeError as error:  # It shuts down, and takes nothing more.
                if piece[0].set_running_or_notify_cancel():
                    piece[0].set_exception(error)

    def _next(self, row: str) -> Piece | None:
        with self._lock:
            if waiting := self._waiting[row]:
                return waiting.popleft()
            del self._waiting[row]
            return None


def _fulfil(future: Future[Any], work: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)
