"""Frozen values that travel between the modules."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any, Final, Literal

Dialect = Literal["specification", "guide", "handle"]
StreamKind = Literal["get", "post", "call", "inbox"]
"""Where it leads: to the client (on GET, or as a POST's reply), to the workers (inbox), nowhere (call)."""

MESSAGE: Final = "message"
"""The SSE event name of a JSON-RPC message; every other name is a named session event."""

INBOX_KEPT: Final = 200
"""Messages that the inbox of a session keeps. The oldest are trimmed; workers have read them long before."""

CALL: Final = "call-"
"""Begins the name of a running call, which is a pending request, too, so that others can cancel it."""

REQUEST_CANCELLED: Final = -32800

WORKER_LOST: Final = "The worker that ran the call was lost: its outcome is unknown"
"""The error that a client gets for such a call; the reason in the error's data is "worker_lost"."""

BEATS: Final = 3
"""Beats of a worker within WORKER_TIMEOUT: two may be late."""

PRIMING_SINCE: Final = "2025-11-25"
"""The first revision whose clients take an empty event that has an id."""

LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


class EndReason:
    """Why a session ended; what `Session.end_reason` and `session-expired` say."""

    DELETED: Final = "deleted"
    """By its client."""
    EXPIRED: Final = "expired"
    """SESSION_TIMEOUT or MAX_SESSION_LIFETIME ran out."""
    IDLE: Final = "idle"
    """IDLE_TIMEOUT ran out."""
    REPLACED: Final = "replaced"
    """A newer session took its place at a limit."""
    OPERATOR: Final = "operator"
    ROTATED: Final = "rotated"
    """Its id was to be changed, and its client cannot learn another."""
    REVOKED: Final = "revoked"
    """Its owner may not log in any more."""
    UNUSED: Final = "unused"
    """A GET had opened it, nobody used it, and its stream was closed UNUSED_SECONDS ago."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session as the store knows it.

    `key` is its public name, `digest` the SHA-256 of the id that opens it (hex), `server` the
    path of the endpoint it belongs to, `owner` whom it belongs to ("" when anonymous), `principal`
    whom it counts for at the limits (see `principal_of`). Instants are aware datetimes.

    It is live until `expires_at`, the earlier of two ends: `timeout_at`, which SESSION_TIMEOUT and
    MAX_SESSION_LIFETIME give, and the one that IDLE_TIMEOUT gives while nothing holds it off.

    `metadata` has: dialect, protocol_version, initialized, client (the clientInfo object),
    capabilities (the client's), address, user_agent, log_level once the client has set one,
    authentication if it was not opened anonymously (see protocol.admission), and dropped, how many
    messages nobody came to read in time.
    """

    key: str
    digest: str
    server: str
    owner: str
    created_at: datetime
    last_accessed_at: datetime
    expires_at: datetime
    timeout_at: datetime
    principal: str = ""
    requests: int = 0
    """POSTs since it was opened, but for the handshake's."""
    connections: int = 0
    """GET streams that were connected."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    ended_at: datetime | None = None
    end_reason: str = ""
    inbox: int = 0
    """The last position of its inbox when the session was read: who works for it listens from there."""
    previous_digest: str = ""
    """That of the id which it had before a rotation, "" if it had none or its grace was long ago."""
    previous_until: datetime | None = None
    """Until when that id opens it, too."""
    sealed_id: str = ""
    """Its id, sealed by `sealing.seal`, as long as there is a previous one."""

    def is_live(self, now: datetime) -> bool:
        return self.ended_at is None and now < self.expires_at

    def is_opened_by(self, digest: str, now: datetime) -> bool:
        """Whether the id with this digest opens it: its own, or within its grace the one it had before."""
        if digest == self.digest:
            return True
        return (
            digest == self.previous_digest and self.previous_until is not None and now < self.previous_until
        )

    @property
    def can_learn_id(self) -> bool:
        """Whether its client can get another id: the session guide's clients can, no others."""
        return self.dialect == "guide" and not self.metadata.get("posts_to_endpoint")

    @property
    def dialect(self) -> Dialect:
        """How its client speaks of it: by the specification's header, as the guide does, or by a handle."""
        match self.metadata.get("dialect"):
            case "guide":
                return "guide"
            case "handle":
                return "handle"
        return "specification"

    @property
    def protocol_version(self) -> str:
        return str(self.metadata.get("protocol_version", ""))

    @property
    def client(self) -> str:
        return client_of(self.metadata)

    @property
    def log_level(self) -> str | None:
        return self.metadata.get("log_level")

    def takes(self, method: str, params: Mapping[str, Any] | None) -> bool:
        """Whether a log message reaches the level that the client has set; everything else always does."""
        if method != "notifications/message" or self.log_level not in LOG_LEVELS:
            return True
        said = (params or {}).get("level")
        return said not in LOG_LEVELS or LOG_LEVELS.index(said) >= LOG_LEVELS.index(self.log_level)


@dataclass(frozen=True, slots=True)
class Touch:
    """What one interval of use adds to a session: written by one statement, or not at all."""

    key: str
    last_accessed_at: datetime
    expires_at: datetime
    timeout_at: datetime
    requests: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Rotation:
    """Another id for a session: its digest, the id itself sealed, until when the one before opens it, too.

    With an `owner` (and the `principal` that it counts for) the session is that owner's from then on.
    """

    digest: str
    sealed_id: str
    until: datetime
    owner: str | None = None
    principal: str = ""


ROTATED: Final = '{"rotated": {}}'
"""The message in the inbox of a session that has another id: its workers read the session again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many sessions of one server may live at once; None is no limit.

    `replaces`: at a limit others are ended, where else the new one is refused.
    """

    per_principal: int | None = None
    in_all: int | None = None
    replaces: bool = False


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Statistics:
    """What a store has of one server, or of all."""

    live: int = 0
    expired: int = 0
    """Their time has run out, and nobody has ended them yet."""
    ended: int = 0
    """Not purged yet."""
    open_streams: int = 0
    """GET streams that are being read."""
    running_calls: int = 0
    """Those that became rows: they have sent something, or have been running for a while."""


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """One ordered, durable log of a session.

    `name` is its public name, unique in the whole store (an inbox has the key of its session);
    `position` the last position given out (the first event has 1); `delivered` how far a client
    has been sent it, or is about to be;
    `request_ids` the JSON-RPC ids that a POST's stream answers; `writer` the worker that runs its calls, ""
    for a stream that anybody may add to; `reader` the worker that has its client's connection,
    "" while it is not read.
    """

    name: str
    session_key: str
    kind: StreamKind
    position: int = 0
    delivered: int = 0
    ended_at: datetime | None = None
    request_ids: tuple[int | str, ...] = ()
    writer: str = ""
    reader: str = ""
    attached_at: datetime | None = None
    """Since when it is read by whom it is read; None by a POST's own reply."""
    created_at: datetime | None = None
    """When it was opened."""
    trimmed: int = 0
    """Events up to this position were deleted; it is 0 while all that was stored is there, or has moved."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream: `name` is its SSE event name, `data` its text.

    In an inbox the name is that of the pending request that the message belongs to, or "".
    """

    position: int
    name: str
    data: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An event where it is: its stream, and when it was stored."""

    stream: str
    event: Event
    at: datetime


@dataclass(frozen=True, slots=True)
class Reading:
    """What a stream has behind a position; `end` is its last position once it has ended.

    `is_cut`: there is more, which would have been too much at once. `trimmed`: events up to this
    position were deleted, so a reader who has seen less cannot get the next events. `is_estranged`:
    the stream is not read by the worker that asked, which has nothing to send from it.
    `position`: the stream's last position, even if the event there was deleted.
    """

    events: tuple[Event, ...]
    end: int | None = None
    is_cut: bool = False
    trimmed: int = 0
    is_estranged: bool = False
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Append:
    """Events to be added to one stream, and whether the stream ends with them.

    With a `writer`, only while the stream is that worker's: one that was declared dead, and
    comes back, adds nothing to what others have ended meanwhile.
    """

    stream: str
    events: tuple[tuple[str, str], ...]
    """(name, data) of each event."""
    ends: bool = False
    writer: str = ""
    reader: str = ""
    """If this worker reads the GET stream, and nothing waits there, it takes the events in the same step."""


@dataclass(frozen=True, slots=True)
class Send:
    """One event for a session, on its GET streams: the store finds out on which.

    It goes to the newest that is being read, or, `everywhere`, to every one that is being read.
    While there is none it waits in the newest, unless it is `only_now`. With a `call` (an
    Append without events) it goes out only if that can be done, with it.
    """

    session: str
    name: str
    data: str
    everywhere: bool = False
    only_now: bool = False
    call: Append | None = None
    readers: tuple[tuple[str, str], ...] = ()
    """(stream, worker): if the event goes to that stream, the worker is the `reader` of an Append."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message (JSON text) for the workers of a session, in its inbox.

    The inbox is a stream whose name is the session's key. With a `request` the message is stored only
    while that request is pending (see `add_request`), in place of the last message for it. If it
    `answers` the request, the request is not pending any more.
    """

    session: str
    data: str
    request: str = ""
    answers: bool = False


BatchItem = Append | Send | Inbound
"""What one batch may store."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Requests that were refused for security: the first one, or the repeats within an interval.

    `reason` is one of those in mcp_sessions/signals.py, `server` the path of the endpoint, `owner` the owner
    that the sender identified as ("" if none), `key` that of the session the request named ("" if none
    that exists). `count` is how many requests it stands for; of repeats, owner and key are the last one's.
    """

    server: str
    reason: str
    address: str = ""
    owner: str = ""
    key: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class RefusalCount:
    """Refusals that are alike: `refusal` is their sum, and `last_at` the instant of the last one."""

    refusal: Refusal
    last_at: datetime


class Taken(tuple[str, int]):
    """A place whose events were taken by the stream's reader in the step that stored them."""

    __slots__ = ()


Placed = tuple[tuple[str, int], ...]
"""(stream, position of the first event there) of each place where something was stored; () for nowhere."""


@dataclass(frozen=True, slots=True)
class Displaced:
    """A connection that has to close: the stream, the worker that has it and since when, and why."""

    stream: str
    reader: str
    attached_at: datetime | None
    why: Literal["replaced", "limit"]

    @property
    def message(self) -> dict[str, dict[str, str]]:
        """The message in the session's inbox about it."""
        since = instant(self.attached_at)
        content = {"stream": self.stream, "reader": self.reader, "since": since, "why": self.why}
        return {"close": content}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A stream that is being read from now on, and the connections that have to make room for it."""

    stream: StreamRecord
    displaced: tuple[Displaced, ...] = ()


@dataclass(frozen=True, slots=True)
class Takeover:
    """What came of a lost worker.

    `written`: how many of the streams it wrote the caller writes now; `left`: once that is all of
    them, the GET streams that it read.
    """

    written: int = 0
    left: tuple[StreamRecord, ...] = ()


def principal_of(server: str, owner: str, address: str) -> str:
    """Whom a session counts for at the limits: its owner, or, if it is anonymous, its address.

    32 hexadecimal characters. Of an IPv6 address it is the /64 network, which one household has.
    """
    who = f"owner {owner}" if owner else f"address {_network(address)}"
    return hashlib.sha256(f"{server}\n{who}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def client_of(metadata: Mapping[str, Any]) -> str:
    """What a client calls itself, its name and its version; "" if it does not, or in words that are none."""
    client = metadata.get("client")
    said = [client.get(part) for part in ("name", "version")] if isinstance(client, Mapping) else []
    return " ".join(word for word in said if isinstance(word, str) and word.strip())


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ip_network((int(parsed), 64), strict=False))


def instant(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).isoformat()


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that is to happen once, by whoever claims it first.

    `session` is the key of the session that it counts for, and `name` the digest of what makes two calls the
    same. `worker` is to run it; `token` names this attempt to claim it. Its outcome is kept for
    `keep_seconds`. `if_lost` is the outcome of a call whose worker is lost; None: it is run again.
    """

    session: str
    name: str
    worker: str
    token: str
    keep_seconds: float
    if_lost: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What became of a claim: it is the caller's to run, or there is an outcome, or another runs it now."""

    is_mine: bool = False
    outcome: str | None = None
