"""The store itself: its verbs, and where they run."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS

from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.database.attaching import AttachingVerbs
from mcp_sessions.stores.database.charging import ChargingVerbs
from mcp_sessions.stores.database.claiming import ClaimingVerbs
from mcp_sessions.stores.database.data import DataVerbs
from mcp_sessions.stores.database.ending import EndingVerbs
from mcp_sessions.stores.database.opening import OpeningVerbs
from mcp_sessions.stores.database.requests import RequestVerbs
from mcp_sessions.stores.database.ringing import ChangeVerbs
from mcp_sessions.stores.database.rotating import RotatingVerbs
from mcp_sessions.stores.database.sessions import SessionVerbs
from mcp_sessions.stores.database.streams import StreamVerbs
from mcp_sessions.stores.database.sweeping import SweepingVerbs
from mcp_sessions.stores.database.threads import Threaded
from mcp_sessions.stores.database.touching import TouchingVerbs
from mcp_sessions.stores.database.workers import WorkerVerbs


class DatabaseSessionStore(
    SessionVerbs,
    OpeningVerbs,
    TouchingVerbs,
    EndingVerbs,
    RotatingVerbs,
    DataVerbs,
    StreamVerbs,
    AttachingVerbs,
    SweepingVerbs,
    RequestVerbs,
    ClaimingVerbs,
    ChargingVerbs,
    ChangeVerbs,
    WorkerVerbs,
    Threaded,
    BaseSessionStore,
):
    """Keeps sessions in the database with this alias; every worker that uses it serves every session.

    The plain verbs use the calling thread's connection, and take part in its transaction. The
    awaited ones have threads and connections of their own, and take part in nobody's.
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
