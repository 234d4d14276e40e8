"""The rows of the database store, and their named queries."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import models
from django.db.models import Exists, F, OuterRef, Q

STREAM_NAME_INDEX: Final = "mcp_sessions_stream_name"
ADDRESS_LENGTH: Final = 64
CLIENT_LENGTH: Final = 128
"""Characters of a client's name and version that a search can find."""
STATES: Final = ("live", "expired", "ended")
"""A session is in one of them at any time. An expired session has not been ended yet."""


def prefix_index(field: str) -> models.Index:
    """An index for LIKE 'a%'. On PostgreSQL `db_index=True` makes two. Elsewhere it is an ordinary index."""
    name = f"mcp_sessions_session_{field}"
    return models.Index(fields=[field], name=name, opclasses=["varchar_pattern_ops"])


class SessionQuerySet(models.QuerySet["Session"]):
    def live(self, now: datetime) -> SessionQuerySet:
        return self.filter(ended_at=None, expires_at__gt=now)

    def expired(self, now: datetime) -> SessionQuerySet:
        """Their time has run out, and nothing has ended them yet."""
        return self.filter(ended_at=None, expires_at__lte=now)

    def ended(self, before: datetime) -> SessionQuerySet:
        return self.filter(ended_at__lte=before)

    def in_state(self, state: str, now: datetime) -> SessionQuerySet:
        """Those in one of STATES."""
        if state == "ended":
            return self.exclude(ended_at=None)
        return self.live(now) if state == "live" else self.expired(now)

    def newest_first(self) -> SessionQuerySet:
        return self.order_by("-created_at", "-pk")

    def unended(self) -> SessionQuerySet:
        """Not ended. Their time may have run out."""
        return self.filter(ended_at=None)

    def leasable(self, token: str, now: datetime) -> SessionQuerySet:
        """Nobody holds their lease, or the holder of this token does."""
        return self.live(now).filter(Q(lease_until=None) | Q(lease_until__lt=now) | Q(lease_token=token))

    def leased(self, token: str) -> SessionQuerySet:
        return self.unended().filter(lease_token=token)


class Session(models.Model):
    """One MCP session. The row has the digest of the session id, never the id."""

    key = models.CharField(
        "key", max_length=32, help_text="Public name of the session. It is not a credential."
    )
    digest = models.CharField("digest", max_length=64, help_text="SHA-256 of the session id.")
    previous_digest = models.CharField(
        "previous digest",
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="SHA-256 of the session id before the last rotation.",
    )
    previous_until = models.DateTimeField(
        "previous until", null=True, blank=True, help_text="Until this time the previous id is accepted too."
    )
    sealed_id = models.CharField(
        "sealed id",
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="The new id, encrypted for workers that send it to the client.",
    )
    server = models.CharField(
        "server", max_length=200, help_text="Path of the endpoint that opened the session."
    )
    owner = models.CharField(
        "owner", max_length=255, blank=True, help_text="Principal that owns the session; empty if anonymous."
    )
    created_at = models.DateTimeField("created at")
    last_accessed_at = models.DateTimeField("last accessed at")
    expires_at = models.DateTimeField("expires at")
    timeout_at = models.DateTimeField(
        "times out at", help_text="When the session ends even if it is not idle. expires_at is never later."
    )
    warned_for = models.DateTimeField(
        "warned for", null=True, blank=True, help_text="The expiry of which the client was last warned."
    )
    ended_at = models.DateTimeField("ended at", null=True, blank=True)
    end_reason = models.CharField("end reason", max_length=32, blank=True)
    principal = models.CharField(
        "principal",
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="Digest of the owner or address whose limits include this session.",
    )
    requests = models.BigIntegerField("requests", default=0, db_default=0)
    connections = models.BigIntegerField("connections", default=0, db_default=0)
    # The metadata has both too. These columns are for searches.
    address = models.CharField("address", max_length=ADDRESS_LENGTH, blank=True, default="", db_default="")
    client = models.CharField(
        "client",
        max_length=CLIENT_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="Name and version of the client, in lower case.",
    )
    metadata = models.JSONField(
        "metadata", default=dict, blank=True, help_text="Information from the client about itself."
    )
    data = models.TextField(
        "data", default="{}", blank=True, help_text="Data that the server's tools store, serialized."
    )
    lease_token = models.CharField(
        "lease token", max_length=32, blank=True, help_text="Identifies the holder of the lease on the data."
    )
    lease_until = models.DateTimeField("leased until", null=True, blank=True)
    inbox = models.BigIntegerField(
        "inbox", default=0, db_default=0, help_text="Last position given out in the session's inbox."
    )

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = "session"
        verbose_name_plural = "sessions"
        # Only the store adds, changes and deletes rows.
        default_permissions = ("view",)
        permissions = [
            ("end_session", "Can end and extend sessions and send them events"),
            ("view_session_payload", "Can view the data and events of sessions"),
        ]
        # Not `unique=True`, which on PostgreSQL makes a second index, for LIKE.
        constraints = [
            models.UniqueConstraint(fields=["key"], name="mcp_sessions_session_key"),
            models.UniqueConstraint(fields=["digest"], name="mcp_sessions_session_digest"),
        ]
        indexes = [
            # For the purge, which looks for expired and ended sessions, and for the limits, which
            # count live ones.
            models.Index(fields=["ended_at", "expires_at"], name="mcp_sessions_session_ends"),
            models.Index(fields=["principal", "ended_at", "expires_at"], name="mcp_sessions_session_counts"),
            # For aggregates and lists by time. It grows at one end only.
            models.Index(fields=["created_at"], name="mcp_sessions_session_created"),
            # Filled only during the grace period of a rotation.
            models.Index(fields=["previous_digest"], name="mcp_sessions_session_previous"),
            models.Index(fields=["previous_until"], name="mcp_sessions_session_rotated"),
            prefix_index("owner"),
            prefix_index("address"),
            prefix_index("client"),
        ]

    def __str__(self) -> str:
        return self.key

    def state_at(self, now: datetime) -> str:
        """One of STATES."""
        if self.ended_at is not None:
            return "ended"
        return "live" if self.expires_at > now else "expired"


class OpeningLock(models.Model):
    """A transaction locks a row while it counts sessions and opens one more, so that no two count at once."""

    name = models.CharField("name", max_length=200)

    class Meta:
        verbose_name = "opening lock"
        verbose_name_plural = "opening locks"
        constraints = [models.UniqueConstraint(fields=["name"], name="mcp_sessions_opening_lock")]

    def __str__(self) -> str:
        return self.name


class StreamQuerySet(models.QuerySet["Stream"]):
    def unended(self) -> StreamQuerySet:
        return self.filter(ended_at=None)

    def unread(self) -> StreamQuerySet:
        """No client is connected to them."""
        return self.filter(reader="")

    def busy(self) -> StreamQuerySet:
        """A client reads them on GET, or calls write to them."""
        return self.unended().filter((Q(kind="get") & ~Q(reader="")) | ~Q(writer=""))

    def forgettable(self, before: datetime) -> StreamQuerySet:
        """Nobody has read or written them since, and they have no undelivered events."""
        is_done = Q(ended_at__isnull=False) | Q(kind="get", delivered__gte=F("position")) | Q(kind="inbox")
        return self.unread().filter(is_done, idle_since__lt=before)


class Stream(models.Model):
    """One ordered, durable log of a session.

    An append changes no indexed column. On PostgreSQL such an update stays in its page and touches
    no index (the table's fillfactor leaves room for it).
    """

    name = models.CharField("name", max_length=32)
    session = models.ForeignKey(
        Session, verbose_name="session", on_delete=models.CASCADE, related_name="streams"
    )
    kind = models.CharField(
        "kind",
        max_length=8,
        help_text="get, post: the HTTP method that opened the stream. inbox: messages for the session's "
        "workers. call: no stream, but a call whose response goes to a GET stream.",
    )
    # Text, because PostgreSQL's JSON refuses some of the strings that a client may use as an id.
    request_ids = models.TextField(
        "request ids",
        blank=True,
        default="",
        db_default="",
        help_text="Requests that a POST stream answers; JSON.",
    )
    # Empty once the stream has ended. No other worker can write to the stream.
    writer = models.CharField(
        "writer",
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="Worker that runs the calls of the stream.",
    )
    reader = models.CharField(
        "reader",
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="Worker that has the client's connection.",
    )
    attached_at = models.DateTimeField("attached at", null=True, help_text="When that connection began.")
    idle_since = models.DateTimeField(
        "idle since",
        null=True,
        db_index=True,
        help_text="Since when nobody reads or writes the stream. Such streams are deleted later.",
    )
    position = models.BigIntegerField("position", default=0, help_text="Last position given out.")
    delivered = models.BigIntegerField(
        "delivered", default=0, help_text="Last position that was sent to the client."
    )
    trimmed = models.BigIntegerField(
        "trimmed", default=0, db_default=0, help_text="Last position whose event was trimmed."
    )
    created_at = models.DateTimeField("created at")
    ended_at = models.DateTimeField("ended at", null=True, blank=True)

    objects = StreamQuerySet.as_manager()

    class Meta:
        verbose_name = "stream"
        verbose_name_plural = "streams"
        constraints = [models.UniqueConstraint(fields=["name"], name=STREAM_NAME_INDEX)]
        # Not `db_index=True`, which on PostgreSQL makes a second index, for LIKE.
        indexes = [
            models.Index(fields=["writer"], name="mcp_sessions_stream_writer"),
            models.Index(fields=["reader"], name="mcp_sessions_stream_reader"),
        ]

    def __str__(self) -> str:
        return self.name


class StreamEvent(models.Model):
    """One event of a stream."""

    # The unique constraint is the index. Events are stored and deleted under their stream's lock:
    # a foreign key check per event would protect nothing, and costs a third of an append.
    stream = models.ForeignKey(
        Stream,
        verbose_name="stream",
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,
        db_constraint=False,
    )
    position = models.BigIntegerField("position", help_text="Place in the stream, from 1.")
    name = models.CharField(
        "name",
        max_length=64,
        blank=True,
        help_text="SSE event name. In an inbox: the request to the client that the message answers.",
    )
    data = models.TextField("data")
    created_at = models.DateTimeField("created at")

    class Meta:
        verbose_name = "stream event"
        verbose_name_plural = "stream events"
        constraints = [
            models.UniqueConstraint(fields=["stream", "position"], name="mcp_sessions_event_position")
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.position}"


class Subscription(models.Model):
    """A session subscribes to changes of a resource."""

    session = models.ForeignKey(
        Session,
        verbose_name="session",
        on_delete=models.CASCADE,
        related_name="subscriptions",
        db_index=False,
    )
    uri = models.TextField("URI")
    uri_digest = models.CharField(
        "URI digest",
        max_length=64,
        db_index=True,
        help_text="SHA-256. A URI is too long for an index.",
    )

    class Meta:
        verbose_name = "subscription"
        verbose_name_plural = "subscriptions"
        constraints = [
            models.UniqueConstraint(fields=["session", "uri_digest"], name="mcp_sessions_subscribed_once")
        ]

    def __str__(self) -> str:
        return self.uri


class PendingRequest(models.Model):
    """A request to the client whose answer a tool waits for. Other answers are not stored."""

    session = models.ForeignKey(
        Session,
        verbose_name="session",
        on_delete=models.CASCADE,
        related_name="pending_requests",
        db_index=False,
    )
    name = models.CharField("name", max_length=32)
    waits_until = models.DateTimeField("waits until", db_index=True)

    class Meta:
        verbose_name = "pending request"
        verbose_name_plural = "pending requests"
        constraints = [models.UniqueConstraint(fields=["session", "name"], name="mcp_sessions_asked_once")]

    def __str__(self) -> str:
        return self.name


class OnceCallQuerySet(models.QuerySet["OnceCall"]):
    def kept(self, now: datetime) -> OnceCallQuerySet:
        """They run, or their outcome is still kept for repeated calls."""
        return self.filter(Q(outcome="") | Q(expires_at__gt=now))

    def forgettable(self, now: datetime) -> OnceCallQuerySet:
        """Their time is over. A call without an outcome stays as long as its worker has a row, lost or not.

        Its time may be over before its worker is declared lost, and its sender must learn of that.
        """
        workers = Worker.objects.using(self.db).filter(name=OuterRef("worker"))
        return self.filter(~Q(outcome="") | ~Exists(workers), expires_at__lte=now)


class OnceCall(models.Model):
    """A tool call that happens once: the worker that runs it, and its outcome for clients that repeat it."""

    session = models.ForeignKey(
        Session, verbose_name="session", on_delete=models.CASCADE, related_name="once_calls", db_index=False
    )
    name = models.CharField(
        "name", max_length=64, help_text="SHA-256 of what makes two calls the same. Arguments are not stored."
    )
    worker = models.CharField("worker", max_length=32, help_text="Worker that runs the call, or has run it.")
    token = models.CharField("token", max_length=32, help_text="Identifies the attempt that runs the call.")
    outcome = models.TextField("outcome", blank=True, help_text="JSON; empty while the call runs.")
    keep_seconds = models.FloatField("kept for", help_text="Seconds for which the outcome is kept.")
    expires_at = models.DateTimeField("expires at", db_index=True, help_text="On the database's clock.")

    objects = OnceCallQuerySet.as_manager()

    class Meta:
        verbose_name = "once-only call"
        verbose_name_plural = "once-only calls"
        constraints = [models.UniqueConstraint(fields=["session", "name"], name="mcp_sessions_happens_once")]

    def __str__(self) -> str:
        return self.name


class Notification(models.Model):
    """The streams and sessions that one transaction added to. Processes read the rows new to them."""

    names = models.TextField("names", help_text="Names of streams and keys of sessions, separated by spaces.")
    token = models.CharField(
        "token", max_length=32, help_text="Identifies the transaction, so that a retry does not repeat it."
    )
    created_at = models.DateTimeField("created at", db_index=True)

    class Meta:
        verbose_name = "notification"
        verbose_name_plural = "notifications"
        constraints = [models.UniqueConstraint(fields=["token"], name="mcp_sessions_notification_token")]

    def __str__(self) -> str:
        return self.names


class RateLimit(models.Model):
    """The state of one rate limit of one client; see gcra."""

    name = models.CharField("name", max_length=64, help_text="What is limited, and for whom. Not a secret.")
    # Not indexed: it changes at each charge, and the purge reads few rows.
    tat = models.BigIntegerField(
        "theoretical arrival time",
        help_text="Microseconds since 1970. After this time the row can be deleted.",
    )
    charged_at = models.BigIntegerField("charged at", help_text="Microseconds since 1970.")
    is_admitted = models.BooleanField("admitted", help_text="Whether the last request was admitted.")

    class Meta:
        verbose_name = "rate limit"
        verbose_name_plural = "rate limits"
        constraints = [models.UniqueConstraint(fields=["name"], name="mcp_sessions_rate_limit")]

    def __str__(self) -> str:
        return self.name


class Worker(models.Model):
    """A process that reads streams or runs calls."""

    name = models.CharField(
        "name", max_length=32, help_text="New at every start, and after the worker was lost."
    )
    started_at = models.DateTimeField("started at")
    heartbeat_at = models.DateTimeField("last heartbeat at", help_text="On the database's clock.")
    lost_at = models.DateTimeField("lost at", null=True, blank=True)
    # The row stays for a while, to find what the worker may still write after that.
    is_forgotten = models.BooleanField(
        "forgotten", default=False, db_default=False, help_text="Other workers have taken over its work."
    )

    class Meta:
        verbose_name = "worker"
        verbose_name_plural = "workers"
        constraints = [models.UniqueConstraint(fields=["name"], name="mcp_sessions_worker_name")]

    def __str__(self) -> str:
        return self.name


class SessionHour(models.Model):
    """The aggregates of one hour. They outlive the sessions that they count.

    One transaction writes an hour's rows, one for each endpoint that had sessions and one for all
    endpoints. After that they do not change.
    """

    hour = models.DateTimeField("hour", help_text="When the hour began.")
    server = models.CharField(
        "server", max_length=200, blank=True, help_text="Path of the endpoint; empty for all endpoints."
    )
    opened = models.BigIntegerField("opened")
    ended = models.BigIntegerField("ended")
    live = models.BigIntegerField("live", help_text="Live sessions just before the hour began.")
    peak = models.BigIntegerField("peak", help_text="Most live sessions at one time.")
    duration = models.BigIntegerField(
        "duration", help_text="Total lifetime of the sessions that ended, in microseconds."
    )
    requests = models.BigIntegerField("requests", help_text="Of the sessions that ended.")
    connections = models.BigIntegerField("connections", help_text="Of the sessions that ended.")
    kinds = models.JSONField("kinds", help_text="Counts by client, protocol version and end reason.")
    durations = models.JSONField("durations", help_text="Ended sessions by class of duration.")
    is_purged = models.BooleanField(
        "purged", default=False, help_text="Sessions that ended in the hour may have been deleted."
    )

    class Meta:
        verbose_name = "hour"
        verbose_name_plural = "hours"
        constraints = [models.UniqueConstraint(fields=["hour", "server"], name="mcp_sessions_hour_once")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M} {self.server}".rstrip()


class RefusalHour(models.Model):
    """Requests of one hour that were refused for the same reason, from the same address, and so on."""

    name = models.CharField(
        "name", max_length=64, help_text="SHA-256 of the fields that the requests have in common."
    )
    hour = models.DateTimeField("hour", help_text="When the hour began.", db_index=True)
    server = models.CharField("endpoint", max_length=200)
    reason = models.CharField("reason", max_length=32)
    address = models.CharField("address", max_length=ADDRESS_LENGTH, blank=True)
    owner = models.CharField(
        "owner",
        max_length=255,
        blank=True,
        db_index=True,
        help_text="Principal that sent the requests, if known.",
    )
    key = models.CharField(
        "session",
        max_length=32,
        blank=True,
        db_index=True,
        help_text="Session that the requests named, if it exists.",
    )
    count = models.BigIntegerField("requests")
    last_at = models.DateTimeField("last", db_index=True)

    class Meta:
        verbose_name = "refusal"
        verbose_name_plural = "refusals"
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["name"], name="mcp_sessions_refusal_hour")]

    def __str__(self) -> str:
        return f"{self.count} {self.reason}"
