"""Summary rows: one row a session for operators, beside a store that keeps no rows of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from mcp_sessions.records import SessionRecord, Touch

R = TypeVar("R")


class KeepsRows(Protocol):
    """An object that has one row a session in the database, for the admin and for statistics."""

    alias: str

    async def arun(self, method: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
        """Run what blocks off the loop, on a connection of its own."""


class SessionRows(KeepsRows, Protocol):
    """Summary rows. No request reads them."""

    async def awrite(self, sessions: Sequence[SessionRecord]) -> None:
        """Make the rows agree with the sessions, whether or not they are there; all or none.

        Counts never become less. Of one that says that its session has ended nothing else changes.
        """

    async def aend(self, key: str, at: datetime, reason: str) -> bool:
        """Note the end of a session of which nothing else is known."""

    async def atouch(self, touches: Sequence[Touch]) -> Sequence[str]:
        """Sessions that are over were used before, which their rows do not say."""

    async def aoverdue(self, now: datetime, limit: int) -> Sequence[str]:
        """Keys of sessions that have expired by their rows. They may have been used since."""

    async def apurge(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` rows of sessions that ended at `before` or earlier; how many."""

    def close(self) -> None: ...
