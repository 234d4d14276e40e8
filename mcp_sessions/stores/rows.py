"""What keeps one row a session for operators, beside a store that has none of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from mcp_sessions.records import SessionRecord, Touch

R = TypeVar("R")


class KeepsRows(Protocol):
    """What has one row a session in the database: for the admin and for figures."""

    alias: str

    async def arun(self, method: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
        """Run what blocks off the loop, on a connection of its own."""


class SessionRows(KeepsRows, Protocol):
    """Nothing of it is read to serve a request."""

    async def awrite(self, sessions: Sequence[SessionRecord]) -> None:
        """Have the rows say what the sessions say, whether or not they are there; all or none.

        Counts never become less. Of one that says that its session has ended nothing else changes.
        """

    async def aend(self, key: str, at: datetime, reason: str) -> bool:
        """It is over, and nobody knows more of it."""

    async def atouch(self, touches: Sequence[Touch]) -> Sequence[str]:
        """Sessions that are over were used before, which their rows do not say."""

    async def aoverdue(self, now: datetime, limit: int) -> Sequence[str]:
        """Keys of sessions that are over by what their rows say; they may have been used since."""

    async def apurge(self, before: datetime, limit: int) -> int:
        """Delete at most `limit` rows of sessions that ended at `before` or earlier; how many."""

    def close(self) -> None: ...
