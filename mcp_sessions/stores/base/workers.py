"""Workers: the processes that share a store, and what they have to know of one another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone

from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.records import Claim, Claimed, Takeover
from mcp_sessions.stores.base.async_variants import AsyncVariants


class WorkerStore(AsyncVariants):
    """Heartbeats, failover, notifications, calls that happen once, and limits that all share."""

    @abstractmethod
    def enlist(self, worker: str) -> None:
        """Register a worker. From now on it must send heartbeats (`beat`)."""

    async def aenlist(self, worker: str) -> None:
        await self.arun(self.enlist, worker)

    @abstractmethod
    def beat(self, worker: str) -> bool:
        """Record a heartbeat of the worker. False if the worker is lost, or is not known."""

    async def abeat(self, worker: str) -> bool:
        return await self.arun(self.beat, worker)

    @abstractmethod
    def find_lost(self, timeout_seconds: float) -> Sequence[str]:
        """The workers without a heartbeat for so long by the store's clock. They are lost from then on.

        Those that were lost before are among them as long as they are not forgotten, or have something:
        a worker that was stopped while it opened a stream may go on after others have taken its streams over.
        """

    async def afind_lost(self, timeout_seconds: float) -> Sequence[str]:
        return await self.arun(self.find_lost, timeout_seconds)

    @abstractmethod
    def take_over(self, lost: str, worker: str, limit: int) -> Takeover:
        """Make the worker the writer of at most `limit` streams of a lost worker.

        With the last of them the lost worker is forgotten, and reads no stream any more: it leaves
        them as `mark_delivered` says, but gives back nothing that it took. Each stream is in one
        caller's answer only.
        """

    async def atake_over(self, lost: str, worker: str, limit: int) -> Takeover:
        return await self.arun(self.take_over, lost, worker, limit)

    @abstractmethod
    def leave(self, worker: str) -> None:
        """The worker stops, in order. Streams that it still writes are a lost worker's."""

    async def aleave(self, worker: str) -> None:
        await self.arun(self.leave, worker)

    def now(self) -> datetime:
        """The time by the clock that all workers share, which is the store's: leases and changes go by it."""
        return timezone.now()

    async def anow(self) -> datetime:
        return await self.arun(self.now)

    @abstractmethod
    def notify(self, names: Sequence[str]) -> None:
        """Tell every process that shares the store of these names: they are among the next `changes`.

        A name has no spaces. Names that are neither streams nor sessions mean what their listeners
        have agreed on.
        """

    async def anotify(self, names: Sequence[str]) -> None:
        await self.arun(self.notify, names)

    @abstractmethod
    def changes(self, after: int) -> Sequence[tuple[int, Sequence[str]]]:
        """(number, names of streams and keys of sessions) of each change with a number greater than `after`.

        Numbers are given out in order but can be seen out of order: one may appear, a little
        later, below others that were seen before it. Changes are kept for a minute.
        """

    async def achanges(self, after: int) -> Sequence[tuple[int, Sequence[str]]]:
        return await self.arun(self.changes, after)

    @abstractmethod
    def last_change(self, before: datetime) -> int:
        """The number of the last change before an instant, 0 if there is none: all behind it are newer."""

    async def alast_change(self, before: datetime) -> int:
        return await self.arun(self.last_change, before)

    @abstractmethod
    def delete_unreachable(self, before: datetime, limit: int) -> int:
        """Delete what nobody can ask for any more; how many streams.

        Those are streams that have been neither read nor written since `before`, at most `limit`, unless
        something waits in them or calls run; the messages of inboxes to which nothing was added since
        `before`; changes older than a minute; the names of workers that were lost before it and are
        forgotten; pending requests that nobody waits for any more; outcomes of calls that happen once
        whose time is over, and such calls without an outcome whose time is over and whose worker is not
        known any more; previous ids whose grace is over, and the sealed ids beside them; rate limits
        against which nothing counts any more.
        """

    async def adelete_unreachable(self, before: datetime, limit: int) -> int:
        return await self.arun(self.delete_unreachable, before, limit)

    @abstractmethod
    def charge(self, charge: Charge) -> Charged:
        """Count calls against a rate limit, as `gcra.charge` does, by the store's clock.

        Atomic: of charges of one limit that come at once each sees what those before it have counted. A
        limit that nobody has used for so long that nothing is counted any more is the same as a new one,
        and `delete_unreachable` forgets it.
        """

    async def acharge(self, charge: Charge) -> Charged:
        return await self.arun(self.charge, charge)

    @abstractmethod
    def claim(self, claim: Claim, limit: int | None = None) -> Claimed | None:
        """Claim a call that is to happen once; of several claims of one name one gets it to run.

        While its worker lives, a call that runs stays the worker's. Once that is lost, the outcome is what
        this claim says (`if_lost`), for good; if it says None, the call is this claim's to run. After its
        time an outcome is as good as not there. A claim that is sent twice, with one token, is one.

        None, and nothing changes, if the session has `limit` other calls that run or have an outcome. Raises
        SessionEnded.
        """

    async def aclaim(self, claim: Claim, limit: int | None = None) -> Claimed | None:
        return await self.arun(self.claim, claim, limit)

    @abstractmethod
    def settle(self, claim: Claim, outcome: str) -> bool:
        """Store the outcome (not empty) of a call that this claim runs, from now on for its keep_seconds.

        False, and nothing changes, if the call is not the claim's any more. Twice is once. Raises
        SessionEnded.
        """

    async def asettle(self, claim: Claim, outcome: str) -> bool:
        return await self.arun(self.settle, claim, outcome)

    @abstractmethod
    def unclaim(self, claim: Claim) -> None:
        """The claim's call has not happened, and has no outcome: the next claim is to run it."""

    async def aunclaim(self, claim: Claim) -> None:
        await self.arun(self.unclaim, claim)
