"""The contract every session store fulfils.

Each verb exists twice: the plain name blocks (Django views, Celery tasks, commands), its `a`
twin awaits (the runtime's loop). A store written with blocking calls implements the plain
verbs and `arun`, which takes them off the loop.

A verb raises StoreUnavailable when the store cannot be reached; then nothing was written, or
(a connection lost during the commit itself) it is unknown whether it was, and it is not tried
again.

Every verb that adds to a stream, or ends one, rings: the names of what has changed are then among
the next `news`, in every process that shares the store.

The inbox of a session is a stream, too, of kind "inbox", whose name is the session's key. It has
what clients and other processes have for the workers of the session. It is there as long as the
session is, ends with it, and is neither attached nor written by `Append`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from functools import wraps
from typing import Any, ClassVar, Concatenate, Final, ParamSpec, TypeVar

from django.utils import timezone

from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.records import (
    NO_LIMITS,
    Attachment,
    BatchItem,
    Claim,
    Claimed,
    Entry,
    Inheritance,
    Limits,
    Placed,
    Reading,
    Rotation,
    SessionRecord,
    Statistics,
    StreamKind,
    StreamRecord,
    Touch,
)

UNBOUNDED: Final = 2**53
"""Characters: more than there can be, and a number that every store can hold."""

P = ParamSpec("P")
R = TypeVar("R")
Verb = Callable[Concatenate[Any, P], R]
AwaitedVerb = Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]


def fitting(sizes: Iterable[int], size: int) -> int:
    """How many of the first ones have no more than `size` together; the very first does in any case."""
    count = total = 0
    for each in sizes:
        total += each
        if count and total > size:
            break
        count += 1
    return count


def awaited(verb: Verb[P, R]) -> AwaitedVerb[P, R]:
    """The `a` twin of a blocking verb."""

    @wraps(verb, updated=())
    async def twin(store: BaseSessionStore, /, *args: P.args, **kwargs: P.kwargs) -> R:
        blocking: Callable[P, R] = getattr(store, verb.__name__)
        return await store.arun(blocking, *args, **kwargs)

    return twin


class BaseSessionStore(ABC):
    """Where sessions, their streams and their data live."""

    shared_by_processes: ClassVar[bool] = True
    """Whether every process that uses the store serves every session in it."""

    keeps_rows: ClassVar[bool] = False
    """Whether sessions are rows of the database as they are: then nobody writes others for the admin."""

    # -- sessions ------------------------------------------------------------------------

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

    @abstractmethod
    def load(self, digest: str) -> SessionRecord | None:
        """The session whose id has this digest, or had it before its rotation, live or not; or None.

        Whether that rotation was too long ago, the record says (`is_opened_by`). None too if the digest is
        one session's and was another's: nobody can say which of them is meant.
        One whose data or metadata cannot be read is None too, which a log line says; it stays as it is.
        """

    @abstractmethod
    def load_by_key(self, key: str) -> SessionRecord | None:
        """The session with this public name, live or not, or None."""

    @abstractmethod
    def live_sessions(self, server: str, now: datetime, after: str, limit: int) -> Sequence[SessionRecord]:
        """At most `limit` live sessions of the server, in the order of their keys, behind the key `after`."""

    @abstractmethod
    def keys_of(self, server: str, principal: str, now: datetime, limit: int) -> Sequence[str]:
        """The keys of at most `limit` live sessions of the principal (see `principal_of`) at the server."""

    @abstractmethod
    def save_metadata(self, key: str, changes: Mapping[str, Any]) -> bool:
        """Merge `changes` into the metadata of a session that has not ended; False if there is none.

        Atomic: two merges of different names at once keep both.
        """

    @abstractmethod
    def touch(self, touches: Sequence[Touch]) -> Sequence[str]:
        """Record use of sessions: counts are added, instants only move forward.

        A worker writes a use a while after it, and another may have ended the session meanwhile. To one
        that has ended counts are added, and nothing else changes. Those that had expired when they were
        used (at the touch's last_accessed_at) stay as they are.

        The keys of those that have ended or are not there.
        """

    @abstractmethod
    def end(self, key: str, at: datetime, reason: str) -> bool:
        """End a session with its streams, but for the replies of running calls, and ring its key.

        True for the one caller that ended it, False if it had ended or is not there.
        """

    @abstractmethod
    def expire(self, now: datetime, limit: int, keys: Sequence[str] | None = None) -> Sequence[SessionRecord]:
        """End (as by `end`) at most `limit` sessions whose time has run out; as they were before.

        With `keys` only these sessions, however many others have run out before them.
        They end at their expires_at, for the reason that `expiry_reason` gives. Each is
        in one caller's answer only, however many ask at once.
        """

    @abstractmethod
    def rotate(self, key: str, before: str, rotation: Rotation) -> bool:
        """Give a session another id, in place of the one with the digest `before`.

        Puts records.ROTATED into its inbox in the same step, and rings its key. False, and nothing changes,
        if it has ended, is not there, or has another id by now. Raises DuplicateIdentifier if the new digest
        is taken.
        """

    @abstractmethod
    def purge(self, before: datetime, limit: int, keys: Sequence[str] | None = None) -> int:
        """Delete at most `limit` sessions that ended at `before` or earlier, with all that is theirs.

        With `keys` only these sessions. How many. Rings their keys.
        """

    @abstractmethod
    def warn(self, key: str, expires_at: datetime) -> bool:
        """Whether this caller is the first to warn of this end of the session, or of a later one.

        False if the session has ended.
        """

    @abstractmethod
    def expiring(self, server: str, now: datetime, before: datetime, limit: int) -> Sequence[SessionRecord]:
        """At most `limit` live sessions of the server that expire at `before` or earlier, the first first.

        Those that were warned of that end are left out.
        """

    @abstractmethod
    def statistics(self, now: datetime, server: str = "") -> Statistics:
        """What there is of one server, or of all."""

    def count_live(self, now: datetime) -> int:
        """How many sessions live: what `statistics` says, which most stores can say faster alone."""
        return self.statistics(now).live

    def count_over(self, now: datetime, ended_before: datetime, limit: int) -> int:
        """How many sessions a purge would end or delete, counted no further than `limit`.

        Their time had run out `now` and nobody has ended them, or they ended at `ended_before` or earlier.
        A store that keeps no ended sessions need not look at that.
        """
        there = self.statistics(now)
        return min(there.expired + there.ended, limit)

    # -- data ----------------------------------------------------------------------------

    @abstractmethod
    def lease(self, key: str, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        """Take the session's data for editing until `until`; the data, or None while somebody else has it.

        Raises SessionEnded if the session is not there, has ended, or had expired `now`.
        """

    @abstractmethod
    def renew(self, key: str, token: str, until: datetime) -> bool:
        """Keep a lease longer. False if it was lost: the data may have changed since it was taken."""

    @abstractmethod
    def release(self, key: str, token: str, data: Mapping[str, Any] | None) -> bool:
        """Give the lease back, writing `data` unless it is None. False (and nothing written) if it was lost.

        Raises SessionEnded if the session has ended meanwhile.
        """

    # -- subscriptions -------------------------------------------------------------------

    @abstractmethod
    def subscribe(self, key: str, uri: str, limit: int | None = None) -> bool:
        """Remember that the session wants to know of changes to the resource. Twice is once.

        False, and nothing changes, if the session is subscribed to `limit` other resources already.
        """

    @abstractmethod
    def unsubscribe(self, key: str, uri: str) -> None:
        """Forget it; nothing happens if there was nothing to forget."""

    @abstractmethod
    def subscribers(self, uri: str, now: datetime) -> Sequence[SessionRecord]:
        """The live sessions that are subscribed to the resource."""

    # -- streams -------------------------------------------------------------------------

    @abstractmethod
    def open_stream(
        self,
        session_key: str,
        name: str,
        kind: StreamKind,
        worker: str = "",
        request_ids: Sequence[int | str] = (),
    ) -> StreamRecord:
        """Create a stream. A POST's is written and read by the worker, and answers the request ids.

        Raises SessionEnded if the session is not there or has ended.
        """

    @abstractmethod
    def attach(
        self,
        session_key: str,
        name: str,
        worker: str,
        seen: int,
        limit: int | None,
        *,
        is_new: bool = False,
        keep: int | None = None,
    ) -> Attachment | None:
        """Have a stream of the session read by a worker, behind the position `seen`; None if it has no such.

        It has none either if events behind `seen` were deleted: nothing is skipped without a word.
        A reply counts as delivered up to `seen` from then on, since what was sent need not have
        arrived; of a GET stream what was delivered is not taken back.

        `is_new`: a GET stream with this name is opened for it in the same step, so that nothing is
        stored in it before what waits has moved there.

        What waits in the session's other GET streams (the events behind `delivered`: of one that is
        read, those that its reader has not taken) moves to this one, if it is a GET stream: they
        leave their stream and get the next positions here, in the order in which they were stored (what
        already waits here gets new positions too, if it is later).
        Of streams that are read that is the newest, and those that have to make room. Past `limit`
        open GET streams, those that were attached first are read by nobody any more. Their connections,
        and an earlier one of this stream at another worker, are named as displaced, in the answer
        and in the session's inbox. Of the others that nobody reads, only the `keep` that were attached last
        stay: the rest are deleted with what was delivered of them. Raises SessionEnded.
        """

    @abstractmethod
    def mark_delivered(
        self, worker: str, positions: Mapping[str, int], *, leaving: bool = False
    ) -> Sequence[str]:
        """Remember how far streams that the worker reads have been sent; it only moves forward.

        `leaving`: the worker does not read them any more, and what it took behind these positions was
        not sent. In GET streams that waits again, unless a later event was taken from another stream of
        the session: then it stays delivered, for the client that resumes the stream. What waits moves, in
        the same step, to the session's newest GET stream that is read, if there is any: in front of what
        was stored later and waits there. The names of the streams to which something moved.
        """

    @abstractmethod
    def append(self, batch: Sequence[BatchItem], token: str = "") -> list[Placed]:
        """Add events to streams, all of the batch in one transaction; where each item's went.

        For an Append without events that is the stream's last position. It is nowhere for a
        stream or session that has ended or is not there, and for a stream of another writer: of
        such an item nothing is stored. Positions of a stream are consecutive, begin with 1 and
        become visible in order: who has read 7 never finds a 6 later that was not there.

        Events that their `reader` has taken with it, as by `take`, have a records.Taken as their place.

        With a `token`, only if no batch with the same one was stored within the last minute: else it
        raises DuplicateIdentifier. So who does not know whether a batch was stored tries again.

        What waits for a session in streams that nobody reads is bounded by MAX_PENDING and
        MAX_PENDING_BYTES (see `stores.pending`): past them the oldest is deleted (`trimmed`), said in the
        log and counted in the session's metadata (`dropped`). Inboxes keep about INBOX_KEPT messages,
        those that were stored last.
        """

    @abstractmethod
    def read(self, stream: str, after: int, limit: int, size: int = UNBOUNDED) -> Reading | None:
        """At most `limit` events with positions greater than `after`; None if the stream is not there.

        No more than `size` characters of data in all, but for the first event, which comes whatever it has.
        """

    @abstractmethod
    def take(self, stream: str, worker: str, after: int, limit: int, size: int = UNBOUNDED) -> Reading | None:
        """Read a GET stream as `read` does, to send what is found: the worker has it, and nobody else will.

        The events count as delivered from then on, so they move nowhere, also if the worker is taken
        for dead before it has sent them: then they wait for the client that resumes the stream.
        Nothing is found, and the reading `is_estranged`, if the stream is not read by this worker.
        """

    @abstractmethod
    def survey(self, streams: Sequence[str]) -> Mapping[str, StreamRecord]:
        """How these streams, inboxes among them, stand, by name; those that are not there are left out."""

    @abstractmethod
    def streams_of(self, session_key: str) -> Sequence[StreamRecord]:
        """The streams of a session but for its inbox, by name; those that have ended are among them."""

    @abstractmethod
    def open_streams_of(self, session_keys: Sequence[str]) -> Sequence[StreamRecord]:
        """The streams of these sessions, but for inboxes, that have not ended, in no order: one question."""

    @abstractmethod
    def last_events(self, streams: Sequence[str], limit: int) -> Sequence[Entry]:
        """At most `limit` events of these streams, those that were stored last; the newest comes first.

        Of each stream the last by position are looked at.
        """

    @abstractmethod
    def shorten(self, streams: Sequence[str], keep: int, before: datetime, size: int = UNBOUNDED) -> int:
        """Delete the oldest events of these streams, as far as they were delivered; how many.

        The last `keep` stay, as long as they are younger than `before` and have no more than `size`
        characters of data in all; and so do all in the reply to a batch that has not ended. How far
        a stream was shortened is remembered (`trimmed`).
        """

    @abstractmethod
    def sweep(self, before: datetime, limit: int) -> int:
        """Delete what nobody can ask for any more; how many streams.

        Those are streams that have been neither read nor written since `before`, at most `limit`, unless
        something waits in them or calls run; the messages of inboxes to which nothing was added since
        `before`; old news; the names of workers that were lost before it and are forgotten; pending
        requests that nobody waits for any more; outcomes of calls that happen once whose time is over;
        previous ids whose grace is over, and the sealed ids beside them;
        rate limits against which nothing counts any more.
        """

    # -- pending requests ----------------------------------------------------------------

    @abstractmethod
    def add_request(self, key: str, request: str, until: datetime, limit: int | None) -> bool:
        """Somebody waits until then for the session's client to answer the request with this name.

        False, and nothing changes, if `limit` others are pending; calls (see records.CALL) do not count.
        Raises SessionEnded.
        """

    @abstractmethod
    def drop_request(self, key: str, request: str) -> None:
        """Nobody waits any more: the request is forgotten, and so is its message in the inbox."""

    # -- calls that happen once ------------------------------------------------------------

    @abstractmethod
    def claim(self, claim: Claim, limit: int | None = None) -> Claimed | None:
        """Claim a call that is to happen once; of several claims of one name one is told to run it.

        While its worker lives, a call that runs stays the worker's. Once that is lost, the outcome is what
        this claim says (`if_lost`), for good; if it says None, the call is this claim's to run. After its
        time an outcome is as good as not there. A claim that is sent twice, with one token, is one.

        None, and nothing changes, if the session has `limit` other calls that run or have an outcome. Raises
        SessionEnded.
        """

    @abstractmethod
    def settle(self, claim: Claim, outcome: str) -> bool:
        """Store the outcome (not empty) of a call that this claim runs, from now on for its keep_seconds.

        False, and nothing changes, if the call is not the claim's any more, or its session has ended.
        Twice is once.
        """

    @abstractmethod
    def unclaim(self, claim: Claim) -> None:
        """The claim's call has not happened, and has no outcome: the next claim is to run it."""

    # -- rate limits ---------------------------------------------------------------------

    @abstractmethod
    def charge(self, charge: Charge) -> Charged:
        """Count calls against a rate limit, as `gcra.charge` does, by the store's clock.

        Atomic: of charges of one limit that come at once each sees what those before it have counted. A
        limit that nobody has used for so long that nothing is counted any more is the same as a new one,
        and `sweep` forgets it.
        """

    # -- news ----------------------------------------------------------------------------

    @abstractmethod
    def notify(self, names: Sequence[str]) -> None:
        """Tell every process that shares the store of these names: they are among the next `news`.

        A name has no spaces. Those that are neither streams nor sessions mean what those who listen
        have agreed on.
        """

    @abstractmethod
    def news(self, after: int) -> Sequence[tuple[int, Sequence[str]]]:
        """(number, names of streams and keys of sessions) of each ring with a number greater than `after`.

        Numbers are given out in order but can be seen out of order: one may appear, a little
        later, below others that were seen before it.
        """

    @abstractmethod
    def first_news(self, since: datetime) -> int:
        """The number after which every ring is newer than `since`."""

    # -- workers -------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time by the clock that all workers share, which is the store's: leases and news go by it."""
        return timezone.now()

    @abstractmethod
    def enlist(self, worker: str) -> None:
        """A worker begins; from now on it must beat."""

    @abstractmethod
    def beat(self, worker: str) -> bool:
        """The worker is alive. False if it was taken for dead, or is not known."""

    @abstractmethod
    def find_lost(self, timeout_seconds: float) -> Sequence[str]:
        """The workers that have not beaten for so long by the store's clock; they are lost from then on.

        Those that were lost before are among them as long as they are not forgotten, or have something:
        who was stopped while it opened a stream may do so after others have inherited from it.
        """

    @abstractmethod
    def inherit(self, lost: str, heir: str, limit: int) -> Inheritance:
        """Make the heir the writer of at most `limit` streams of a lost worker.

        With the last of them the lost worker is forgotten, and reads no stream any more: it leaves
        them as `mark_delivered` says, but gives back nothing that it took. Each stream is in one
        caller's answer only.
        """

    @abstractmethod
    def written_by(self, workers: Sequence[str]) -> Sequence[StreamRecord]:
        """The streams of these writers, which have not ended."""

    @abstractmethod
    def leave(self, worker: str) -> None:
        """The worker ends, in order. What it still writes is a lost worker's."""

    # -- the same, awaited ---------------------------------------------------------------

    @abstractmethod
    async def arun(self, verb: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run one of the blocking verbs off the loop."""

    def start_thread(self, work: Callable[[], None], name: str) -> threading.Thread:
        """A thread, started, in which `work` may use the blocking verbs, and which leaves nothing open."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:  # noqa: B027  a store may have nothing to give back
        """Give back threads and connections. The store is not used afterwards."""

    acreate = awaited(create)
    aload = awaited(load)
    aload_by_key = awaited(load_by_key)
    alive_sessions = awaited(live_sessions)
    akeys_of = awaited(keys_of)
    asave_metadata = awaited(save_metadata)
    atouch = awaited(touch)
    aend = awaited(end)
    aexpire = awaited(expire)
    aexpiring = awaited(expiring)
    apurge = awaited(purge)
    arotate = awaited(rotate)
    awarn = awaited(warn)
    astatistics = awaited(statistics)
    acount_live = awaited(count_live)
    acount_over = awaited(count_over)
    alease = awaited(lease)
    arenew = awaited(renew)
    arelease = awaited(release)
    asubscribe = awaited(subscribe)
    aunsubscribe = awaited(unsubscribe)
    asubscribers = awaited(subscribers)
    aopen_stream = awaited(open_stream)
    aattach = awaited(attach)
    amark_delivered = awaited(mark_delivered)
    aappend = awaited(append)
    aread = awaited(read)
    atake = awaited(take)
    asurvey = awaited(survey)
    astreams_of = awaited(streams_of)
    aopen_streams_of = awaited(open_streams_of)
    alast_events = awaited(last_events)
    ashorten = awaited(shorten)
    asweep = awaited(sweep)
    aadd_request = awaited(add_request)
    adrop_request = awaited(drop_request)
    anotify = awaited(notify)
    aclaim = awaited(claim)
    asettle = awaited(settle)
    aunclaim = awaited(unclaim)
    acharge = awaited(charge)
    anews = awaited(news)
    afirst_news = awaited(first_news)
    anow = awaited(now)
    aenlist = awaited(enlist)
    afind_lost = awaited(find_lost)
    ainherit = awaited(inherit)
    awritten_by = awaited(written_by)
    aleave = awaited(leave)
