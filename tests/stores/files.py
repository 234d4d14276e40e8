"""A store of one's own, as docs/stores.md shows it: everything in one file that processes share."""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.stores.memory import State, StateSessionStore


class FileSessionStore(StateSessionStore):
    """Keeps everything in one file, which the processes of one machine share.

    It survives a killed process, not a power cut: nothing is flushed to the disk. The file is a
    pickle, and whoever can write it can run code here: keep it where only the project writes.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    @contextmanager
    def transaction(self) -> Iterator[State]:
        try:
            # A lock on a file beside it, since the file itself is replaced; closing it gives the lock back.
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                before = self._path.read_bytes() if self._path.exists() else b""
                state = self._read(before)
                yield state
                after = pickle.dumps(state)
                if after != before:
                    self._write(after)
        except OSError as error:
            raise StoreUnavailable(f"The session store cannot be reached: {error}") from error

    def _read(self, content: bytes) -> State:
        """Raises StoreUnavailable for what is no state of this release: it is not overwritten."""
        try:
            state = pickle.loads(content) if content else State()
        except Exception as error:  # pickle raises nearly any
            raise StoreUnavailable(f"{self._path} cannot be read: {error}") from error
        if not isinstance(state, State):
            raise StoreUnavailable(f"{self._path} has something else than the state of a session store.")
        return state

    def _write(self, content: bytes) -> None:
        """Another file in its place: who is killed meanwhile leaves the old one whole."""
        new = self._path.with_suffix(".new")
        new.write_bytes(content)
        new.replace(self._path)
