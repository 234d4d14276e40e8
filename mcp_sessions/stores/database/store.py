"""The store itself: its methods, and where they run."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS

from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.database.claims import Claims
from mcp_sessions.stores.database.data import SessionData
from mcp_sessions.stores.database.sessions import Sessions
from mcp_sessions.stores.database.streams import Streams
from mcp_sessions.stores.database.threads import Threaded
from mcp_sessions.stores.database.workers import Workers


class DatabaseSessionStore(Sessions, SessionData, Streams, Claims, Workers, Threaded, BaseSessionStore):
    """Keeps sessions in the database with this alias; every worker that uses it serves every session.

    The plain methods use the calling thread's connection, and take part in its transaction. The async
    variants have threads and connections of their own, and take part in nobody's.
    """

    keeps_rows = True

    def __init__(self, alias: str = DEFAULT_DB_ALIAS) -> None:
        super().__init__()
        self.alias = alias

    async def aload(self, digest: str) -> SessionRecord | None:
        async def in_thread() -> SessionRecord | None:
            return await self.arun(self.load, digest)

        # A store that is derived from this one may load in its own way.
        reader = self.reader() if type(self).load is DatabaseSessionStore.load else None
        return await (in_thread() if reader is None else reader.load(digest, in_thread))
