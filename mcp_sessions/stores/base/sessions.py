"""Sessions: how they are opened, found, used, edited and ended."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.records import NO_LIMITS, Limits, Rotation, SessionRecord, Statistics, Touch
from mcp_sessions.stores.base.async_variants import AsyncVariants


class SessionStore(AsyncVariants):
    """Sessions with their metadata, data and subscriptions."""

    @abstractmethod
    def create(self, session: SessionRecord, limits: Limits = NO_LIMITS) -> Sequence[SessionRecord]:
        """Store a new session; the sessions that were ended to make room for it, as they were before.

        Live sessions of its server count (at its created_at): those of its principal, and all.
        Past a limit it is not stored and LimitReached is raised, or, if the limits say so, as many
        as are too much are ended (as by `end`, with EndReason.REPLACED) in the same step: those
        that no stream is read of and no call runs for come first; among them, those that had no
        request since they were opened; among them, those that were used longest ago. However many
        are created at once, a limit is never passed.

        Raises DuplicateIdentifier if its key or digest is taken: then nothing has changed.
        """

    async def acreate(self, session: SessionRecord, limits: Limits = NO_LIMITS) -> Sequence[SessionRecord]:
        return await self.arun(self.create, session, limits)

    @abstractmethod
    def load(self, digest: str) -> SessionRecord | None:
        """The session whose id has this digest, or had it before its rotation, live or not; or None.

        Whether that rotation was too long ago, the record says (`is_opened_by`). None too if the digest is
        one session's and was another's: nobody can say which of them is meant.
        One whose data or metadata cannot be read is None too, which a log line says; it stays as it is.
        """

    async def aload(self, digest: str) -> SessionRecord | None:
        return await self.arun(self.load, digest)

    @abstractmethod
    def load_by_key(self, key: str) -> SessionRecord | None:
        """The session with this public name, live or not, or None."""

    async def aload_by_key(self, key: str) -> SessionRecord | None:
        return await self.arun(self.load_by_key, key)

    @abstractmethod
    def live_sessions(self, server: str, now: datetime, after: str, limit: int) -> Sequence[SessionRecord]:
        """At most `limit` live sessions of the server, in the order of their keys, behind the key `after`."""

    async def alive_sessions(
        self, server: str, now: datetime, after: str, limit: int
    ) -> Sequence[SessionRecord]:
        return await self.arun(self.live_sessions, server, now, after, limit)

    @abstractmethod
    def keys_of(self, server: str, principal: str, now: datetime, limit: int) -> Sequence[str]:
        """The keys of at most `limit` live sessions of the principal (see `principal_of`) at the server."""

    async def akeys_of(self, server: str, principal: str, now: datetime, limit: int) -> Sequence[str]:
        return await self.arun(self.keys_of, server, principal, now, limit)

    @abstractmethod
    def subscribers(self, uri: str, now: datetime) -> Sequence[SessionRecord]:
        """The live sessions that are subscribed to the resource."""

    async def asubscribers(self, uri: str, now: datetime) -> Sequence[SessionRecord]:
        return await self.arun(self.subscribers, uri, now)

    @abstractmethod
    def expiring(self, server: str, now: datetime, before: datetime, limit: int) -> Sequence[SessionRecord]:
        """At most `limit` live sessions of the server that expire at `before` or earlier, the first first.

        Those that were warned of that end are left out.
        """

    async def aexpiring(
        self, server: str, now: datetime, before: datetime, limit: int
    ) -> Sequence[SessionRecord]:
        return await self.arun(self.expiring, server, now, before, limit)

    @abstractmethod
    def touch(self, touches: Sequence[Touch]) -> Sequence[str]:
        """Record use of sessions: counts are added, instants only move forward.

        A worker writes a use a while after it, and another may have ended the session meanwhile. To one
        that has ended counts are added, and nothing else changes. Those that had expired when they were
        used (at the touch's last_accessed_at) stay as they are.

        The keys of those that have ended or are not there.
        """

    async def atouch(self, touches: Sequence[Touch]) -> Sequence[str]:
        return await self.arun(self.touch, touches)

    @abstractmethod
    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        """Merge `changes` into the metadata of a session that has not ended; False if there is none.

        Atomic: two merges of different names at once keep both.
        """

    async def asave_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        return await self.arun(self.save_metadata, key, changes)

    @abstractmethod
    def rotate(self, key: str, before: str, rotation: Rotation) -> bool:
        """Give a session another id, in place of the one with the digest `before`.

        Puts records.ROTATED into its inbox in the same step. False, and nothing changes, if it has ended,
        is not there, or has another id by now. Raises DuplicateIdentifier if the new digest is taken.
        """

    async def arotate(self, key: str, before: str, rotation: Rotation) -> bool:
        return await self.arun(self.rotate, key, before, rotation)

    @abstractmethod
    def warn(self, key: str, expires_at: datetime) -> bool:
        """Whether this caller is the first to warn of this end of the session, or of a later one.

        False if the session has ended.
        """

    async def awarn(self, key: str, expires_at: datetime) -> bool:
        return await self.arun(self.warn, key, expires_at)

    @abstractmethod
    def end(self, key: str, at: datetime, reason: str) -> bool:
        """End a session with its streams, but for the replies of running calls, and notify of its key.

        True for the one caller that ended it, False if it had ended or is not there.
        """

    async def aend(self, key: str, at: datetime, reason: str) -> bool:
        return await self.arun(self.end, key, at, reason)

    @abstractmethod
    def expire(self, now: datetime, limit: int, keys: Sequence[str] | None = None) -> Sequence[SessionRecord]:
        """End (as by `end`) at most `limit` sessions whose time has run out; as they were before.

        With `keys` only these sessions, however many others have run out before them.
        They end at their expires_at, for the reason that `expiry_reason` gives. Each is
        in one caller's answer only, however many ask at once.
        """

    async def aexpire(
        self, now: datetime, limit: int, keys: Sequence[str] | None = None
    ) -> Sequence[SessionRecord]:
        return await self.arun(self.expire, now, limit, keys)

    @abstractmethod
    def purge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> int:
        """Delete at most `limit` sessions that ended at `before` or earlier, with all that is theirs.

        With `keys` only these sessions. How many. Notifies of their keys.
        """

    async def apurge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> int:
        return await self.arun(self.purge, before, limit, keys)

    @abstractmethod
    def statistics(self, now: datetime, server: str = "") -> Statistics:
        """Numbers of sessions, streams and calls, of one server or of all."""

    async def astatistics(self, now: datetime, server: str = "") -> Statistics:
        return await self.arun(self.statistics, now, server)

    def count_live(self, now: datetime) -> int:
        """How many sessions live. Most stores count them faster than all that `statistics` has."""
        return self.statistics(now).live

    async def acount_live(self, now: datetime) -> int:
        return await self.arun(self.count_live, now)

    def count_over(self, now: datetime, ended_before: datetime, limit: int) -> int:
        """How many sessions a purge would end or delete, counted no further than `limit`.

        Their time had run out `now` and nobody has ended them, or they ended at `ended_before` or earlier.
        A store that keeps no ended sessions need not look at that.
        """
        there = self.statistics(now)
        return min(there.expired + there.ended, limit)

    async def acount_over(self, now: datetime, ended_before: datetime, limit: int) -> int:
        return await self.arun(self.count_over, now, ended_before, limit)

    @abstractmethod
    def lease(self, key: str, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        """Take the session's data for editing until `until`; the data, or None while somebody else has it.

        Raises SessionEnded if the session is not there, has ended, or had expired `now`.
        """

    async def alease(self, key: str, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        return await self.arun(self.lease, key, token, now, until)

    @abstractmethod
    def renew(self, key: str, token: str, until: datetime) -> bool:
        """Keep a lease longer. False if it was lost: the data may have changed since it was taken."""

    async def arenew(self, key: str, token: str, until: datetime) -> bool:
        return await self.arun(self.renew, key, token, until)

    @abstractmethod
    def release(self, key: str, token: str, data: Mapping[str, Any] | None) -> bool:
        """Give the lease back, writing `data` unless it is None. False (and nothing written) if it was lost.

        Raises SessionEnded if the session has ended meanwhile.
        """

    async def arelease(self, key: str, token: str, data: Mapping[str, Any] | None) -> bool:
        return await self.arun(self.release, key, token, data)

    @abstractmethod
    def subscribe(self, key: str, uri: str, limit: int | None = None) -> bool:
        """Subscribe the session to changes of the resource. Twice is once.

        False, and nothing changes, if the session is subscribed to `limit` other resources already.
        """

    async def asubscribe(self, key: str, uri: str, limit: int | None = None) -> bool:
        return await self.arun(self.subscribe, key, uri, limit)

    @abstractmethod
    def unsubscribe(self, key: str, uri: str) -> None:
        """End the subscription. Nothing happens if there is none."""

    async def aunsubscribe(self, key: str, uri: str) -> None:
        await self.arun(self.unsubscribe, key, uri)
