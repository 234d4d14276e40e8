"""The contract of session stores: three protocols that one object fulfils.

Each method exists twice. The plain name blocks (Django views, Celery tasks, commands). Its async variant,
with an `a` in front, awaits (the runtime's loop). A store that is written with blocking calls implements the
plain methods and `arun`, which takes them off the loop.

A method raises StoreUnavailable when the store cannot be reached. Then nothing was written, or (when a
connection is lost during the commit) it is unknown whether it was, and the method does not try again.

A method that adds to a stream or ends one notifies: the names of what has changed are among the next
`changes` in every process that shares the store.
"""

from __future__ import annotations

from typing import ClassVar

from mcp_sessions.stores.base.bounds import UNBOUNDED, fitting
from mcp_sessions.stores.base.sessions import SessionStore
from mcp_sessions.stores.base.streams import StreamStore
from mcp_sessions.stores.base.workers import WorkerStore

__all__ = ["UNBOUNDED", "BaseSessionStore", "SessionStore", "StreamStore", "WorkerStore", "fitting"]


class BaseSessionStore(SessionStore, StreamStore, WorkerStore):
    """Where sessions, their streams and their data live."""

    shared_by_processes: ClassVar[bool] = True
    """Whether every process that uses the store serves every session in it."""

    keeps_rows: ClassVar[bool] = False
    """Whether the store's sessions are rows of the database. If not, the admin has summary rows."""
