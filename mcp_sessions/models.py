"""The rows of the database store, and their named queries."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.db import models
from django.db.models import Exists, F, OuterRef, Q

STREAM_NAME_INDEX: Final = "mcp_sessions_stream_name"
ADDRESS_LENGTH: Final = 64
CLIENT_LENGTH: Final = 128
"""Characters of what a client calls itself that are looked for."""
STATES: Final = ("live", "expired", "ended")
"""What can be said of a session at an instant; expired ones have not been ended yet."""


def prefix_index(field: str) -> models.Index:
    """For LIKE 'a%'. Not `db_index=True`, which on PostgreSQL makes two; elsewhere it is like any other."""
    name = f"mcp_sessions_session_{field}"
    return models.Index(fields=[field], name=name, opclasses=["varchar_pattern_ops"])


class SessionQuerySet(models.QuerySet["Session"]):
    def live(self, now: datetime) -> SessionQuerySet:
        return self.filter(ended_at=None, expires_at__gt=now)

    def expired(self, now: datetime) -> SessionQuerySet:
        """Ran out without having been ended."""
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
        """Not ended; their time may have run out."""
        return self.filter(ended_at=None)

    def leasable(self, token: str, now: datetime) -> SessionQuerySet:
        """Nobody but the holder of this token has their data for editing."""
        return self.live(now).filter(Q(lease_until=None) | Q(lease_until__lt=now) | Q(lease_token=token))

    def leased(self, token: str) -> SessionQuerySet:
        return self.unended().filter(lease_token=token)


class Session(models.Model):
    """One MCP session. The id that opens it is not here, only its digest."""

    key = models.CharField("key", max_length=32, help_text="The public name; it opens nothing.")
    digest = models.CharField("digest", max_length=64, help_text="SHA-256 of the session id.")
    previous_digest = models.CharField(
        "previous digest",
        max_length=64,
        blank=True,
        default="",
        db_default="",
        help_text="SHA-256 of the id before the last rotation.",
    )
    previous_until = models.DateTimeField(
        "previous until", null=True, blank=True, help_text="Until when that id opens the session, too."
    )
    sealed_id = models.CharField(
        "sealed id",
        max_length=255,
        blank=True,
        default="",
        db_default="",
        help_text="The id, encrypted for the workers that send it to the client, during the grace.",
    )
    server = models.CharField("server", max_length=200, help_text="Path of the endpoint it was opened at.")
    owner = models.CharField(
        "owner", max_length=255, blank=True, help_text="The principal it belongs to; empty when anonymous."
    )
    created_at = models.DateTimeField("created at")
    last_accessed_at = models.DateTimeField("last accessed at")
    expires_at = models.DateTimeField("expires at")
    timeout_at = models.DateTimeField(
        "times out at", help_text="Its end whether or not it is idle; expires at is never later."
    )
    warned_for = models.DateTimeField(
        "warned for", null=True, blank=True, help_text="The end that its client was last warned of."
    )
    ended_at = models.DateTimeField("ended at", null=True, blank=True)
    end_reason = models.CharField("reason of the end", max_length=32, blank=True)
    principal = models.CharField(
        "counts for",
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="Digest of the owner or address that it counts for at the limits.",
    )
    requests = models.BigIntegerField("requests", default=0, db_default=0)
    connections = models.BigIntegerField("connections", default=0, db_default=0)
    # Both are in the metadata too: here they are looked for.
    address = models.CharField("address", max_length=ADDRESS_LENGTH, blank=True, default="", db_default="")
    client = models.CharField(
        "client",
        max_length=CLIENT_LENGTH,
        blank=True,
        default="",
        db_default="",
        help_text="What it calls itself, name and version, in lower case.",
    )
    metadata = models.JSONField(
        "metadata", default=dict, blank=True, help_text="What the client said about itself."
    )
    data = models.TextField(
        "data", default="{}", blank=True, help_text="What the server's tools keep, serialized."
    )
    lease_token = models.CharField(
        "lease", max_length=32, blank=True, help_text="Names who has the data for editing right now."
    )
    lease_until = models.DateTimeField("leased until", null=True, blank=True)
    inbox = models.BigIntegerField(
        "inbox", default=0, db_default=0, help_text="The last position in its inbox."
    )

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = "session"
        verbose_name_plural = "sessions"
        # Rows are the store's to add, change and delete.
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
            # For the purge, which looks for what has expired or ended, and for the limits, which
            # count what lives.
            models.Index(fields=["ended_at", "expires_at"], name="mcp_sessions_session_ends"),
            models.Index(fields=["principal", "ended_at", "expires_at"], name="mcp_sessions_session_counts"),
            # For figures and lists by time. It grows at one end only.
            models.Index(fields=["created_at"], name="mcp_sessions_session_created"),
            # A session has them for the grace of a rotation.
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
    """Held while sessions are counted and one more is opened, so that no two count at once."""

    name = models.CharField("name", max_length=200)

    class Meta:
        verbose_name = "lock on openings"
        verbose_name_plural = "locks on openings"
        constraints = [models.UniqueConstraint(fields=["name"], name="mcp_sessions_opening_lock")]

    def __str__(self) -> str:
        return self.name


class StreamQuerySet(models.QuerySet["Stream"]):
    def unended(self) -> StreamQuerySet:
        return self.filter(ended_at=None)

    def unread(self) -> StreamQuerySet:
        """Nobody is connected to them."""
        return self.filter(reader="")

    def busy(self) -> StreamQuerySet:
        """They are read on GET, or calls run for them."""
        return self.unended().filter((Q(kind="get") & ~Q(reader="")) | ~Q(writer=""))

    def forgettable(self, before: datetime) -> StreamQuerySet:
        """Nobody has read or written them since, and nothing waits in them."""
        is_done = Q(ended_at__isnull=False) | Q(kind="get", delivered__gte=F("position")) | Q(kind="inbox")
        return self.unread().filter(is_done, idle_since__lt=before)


class Stream(models.Model):
    """One ordered, durable log of a session.

    Nothing that is indexed changes when events are added: on PostgreSQL such updates stay in
    their page and cost no index (the table's fillfactor leaves room for them).
    """

    name = models.CharField("name", max_length=32)
    session = models.ForeignKey(
        Session, verbose_name="session", on_delete=models.CASCADE, related_name="streams"
    )
    kind = models.CharField(
        "kind",
        max_length=8,
        help_text="get or post, the HTTP method that opened it; inbox: messages for the workers of the "
        "session; call: no stream, but a call whose answer goes to a GET stream.",
    )
    # As text: PostgreSQL's JSON refuses some of the strings that a client may use as an id.
    request_ids = models.TextField(
        "request ids", blank=True, default="", db_default="", help_text="What a POST's stream answers; JSON."
    )
    # Empty once the stream has ended. Who is not named here cannot write to the stream.
    writer = models.CharField(
        "writer",
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="The worker that runs its calls.",
    )
    reader = models.CharField(
        "reader",
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text="The worker that has the client's connection.",
    )
    attached_at = models.DateTimeField("attached at", null=True, help_text="When that connection began.")
    idle_since = models.DateTimeField(
        "idle since",
        null=True,
        db_index=True,
        help_text="Since when it is neither read nor written; such streams are deleted in the end.",
    )
    position = models.BigIntegerField("position", default=0, help_text="The last position given out.")
    delivered = models.BigIntegerField(
        "delivered", default=0, help_text="How far it has been sent to its client."
    )
    trimmed = models.BigIntegerField(
        "trimmed", default=0, db_default=0, help_text="Its events up to this position were deleted."
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

    # The unique constraint is the index. Events are stored and deleted under their stream's lock,
    # and to have the database look for the stream once more per event costs a third of an append.
    stream = models.ForeignKey(
        Stream,
        verbose_name="stream",
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,
        db_constraint=False,
    )
    position = models.BigIntegerField("position", help_text="Its place in the stream; the first has 1.")
    name = models.CharField(
        "name",
        max_length=64,
        blank=True,
        help_text="Its SSE event name. In an inbox: the request to the client to which it belongs.",
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
    """A session wants to know when a resource changes."""

    session = models.ForeignKey(
        Session,
        verbose_name="session",
        on_delete=models.CASCADE,
        related_name="subscriptions",
        db_index=False,
    )
    uri = models.TextField("URI")
    uri_digest = models.CharField(
        "digest of the URI",
        max_length=64,
        db_index=True,
        help_text="SHA-256; a URI is too long for an index.",
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
    """A request to the client that a tool waits to be answered: other answers are not stored."""

    session = models.ForeignKey(
        Session,
        verbose_name="session",
        on_delete=models.CASCADE,
        related_name="pending_requests",
        db_index=False,
    )
    name = models.CharField("name", max_length=32)
    waits_until = models.DateTimeField("waited for until", db_index=True)

    class Meta:
        verbose_name = "pending request"
        verbose_name_plural = "pending requests"
        constraints = [models.UniqueConstraint(fields=["session", "name"], name="mcp_sessions_asked_once")]

    def __str__(self) -> str:
        return self.name


class OnceCallQuerySet(models.QuerySet["OnceCall"]):
    def kept(self, now: datetime) -> OnceCallQuerySet:
        """They run, or their outcome is still answered."""
        return self.filter(Q(outcome="") | Q(expires_at__gt=now))

    def forgettable(self, now: datetime) -> OnceCallQuerySet:
        """Their time is over. One that has no outcome stays while its worker is known, if only as lost.

        Its time may be over before its worker is taken for lost, and its sender is to be told of that.
        """
        workers = Worker.objects.using(self.db).filter(name=OuterRef("worker"))
        return self.filter(~Q(outcome="") | ~Exists(workers), expires_at__lte=now)


class OnceCall(models.Model):
    """A call of a tool that happens once: who runs it, and its outcome for those who send it again."""

    session = models.ForeignKey(
        Session, verbose_name="session", on_delete=models.CASCADE, related_name="once_calls", db_index=False
    )
    name = models.CharField(
        "name", max_length=64, help_text="SHA-256 of what makes two calls the same; no argument is kept."
    )
    worker = models.CharField("worker", max_length=32, help_text="Which runs it, or has run it.")
    token = models.CharField("token", max_length=32, help_text="Names the attempt that runs it.")
    outcome = models.TextField("outcome", blank=True, help_text="JSON; empty as long as it runs.")
    keep_seconds = models.FloatField("kept for", help_text="Seconds for which the outcome is answered.")
    expires_at = models.DateTimeField("expires at", db_index=True, help_text="By the database's clock.")

    objects = OnceCallQuerySet.as_manager()

    class Meta:
        verbose_name = "call that happens once"
        verbose_name_plural = "calls that happen once"
        constraints = [models.UniqueConstraint(fields=["session", "name"], name="mcp_sessions_happens_once")]

    def __str__(self) -> str:
        return self.name


class Bell(models.Model):
    """Which streams and sessions one transaction added to; processes look for the rows they have not seen."""

    names = models.TextField("names", help_text="Names of streams and keys of sessions, with spaces between.")
    token = models.CharField("token", max_length=32, help_text="Names the transaction: it takes place once.")
    rung_at = models.DateTimeField("rung at", db_index=True)

    class Meta:
        verbose_name = "bell"
        verbose_name_plural = "bells"
        constraints = [models.UniqueConstraint(fields=["token"], name="mcp_sessions_bell_token")]

    def __str__(self) -> str:
        return self.names


class RateLimit(models.Model):
    """What counts against a rate limit of somebody who comes often; see gcra."""

    name = models.CharField("name", max_length=64, help_text="What is limited, and for whom: no secret.")
    # Not indexed: it changes at each charge, and who sweeps goes through rows that are few.
    tat = models.BigIntegerField(
        "theoretical arrival time", help_text="Microseconds since 1970. Past it nothing counts any more."
    )
    charged_at = models.BigIntegerField("charged at", help_text="Microseconds since 1970.")
    is_admitted = models.BooleanField("admitted", help_text="Whether the last charge was.")

    class Meta:
        verbose_name = "rate limit"
        verbose_name_plural = "rate limits"
        constraints = [models.UniqueConstraint(fields=["name"], name="mcp_sessions_rate_limit")]

    def __str__(self) -> str:
        return self.name


class Worker(models.Model):
    """A process that reads streams or runs calls, as long as it is heard of."""

    name = models.CharField("name", max_length=32, help_text="New at every start, and after it was lost.")
    started_at = models.DateTimeField("started at")
    beat_at = models.DateTimeField("last heard at", help_text="By the database's clock.")
    lost_at = models.DateTimeField("lost at", null=True, blank=True)
    # Its row stays for a while, so that what it may do after that is found.
    is_forgotten = models.BooleanField(
        "forgotten", default=False, db_default=False, help_text="Others have taken over what it had."
    )

    class Meta:
        verbose_name = "worker"
        verbose_name_plural = "workers"
        constraints = [models.UniqueConstraint(fields=["name"], name="mcp_sessions_worker_name")]

    def __str__(self) -> str:
        return self.name


class SessionHour(models.Model):
    """What one hour was like: its figures outlive the sessions that they are of.

    An hour's rows, one for each endpoint that had sessions in it and one for all of them, are written
    by one transaction, and not changed any more.
    """

    hour = models.DateTimeField("hour", help_text="When it began.")
    server = models.CharField(
        "server", max_length=200, blank=True, help_text="Path of the endpoint; empty: all together."
    )
    opened = models.BigIntegerField("opened")
    ended = models.BigIntegerField("ended")
    live = models.BigIntegerField("live", help_text="Just before the hour began.")
    peak = models.BigIntegerField("peak", help_text="The most that lived at one instant.")
    duration = models.BigIntegerField(
        "duration", help_text="Microseconds that the sessions lived that ended, taken together."
    )
    requests = models.BigIntegerField("requests", help_text="Of the sessions that ended.")
    connections = models.BigIntegerField("connections", help_text="Of the sessions that ended.")
    kinds = models.JSONField(
        "kinds", help_text="What clients said about themselves and why sessions ended, counted."
    )
    durations = models.JSONField("durations", help_text="Class of durations: how many sessions that ended.")
    is_purged = models.BooleanField(
        "purged", default=False, help_text="Sessions that ended in it may have been deleted."
    )

    class Meta:
        verbose_name = "hour"
        verbose_name_plural = "hours"
        constraints = [models.UniqueConstraint(fields=["hour", "server"], name="mcp_sessions_hour_once")]

    def __str__(self) -> str:
        return f"{self.hour:%Y-%m-%d %H:%M} {self.server}".rstrip()


class RefusalHour(models.Model):
    """Requests of one hour that were refused for the same reason, from the same address, and so on."""

    name = models.CharField("name", max_length=64, help_text="SHA-256 of what they have in common.")
    hour = models.DateTimeField("hour", help_text="When it began.", db_index=True)
    server = models.CharField("endpoint", max_length=200)
    reason = models.CharField("reason", max_length=32)
    address = models.CharField("address", max_length=ADDRESS_LENGTH, blank=True)
    owner = models.CharField(
        "owner",
        max_length=255,
        blank=True,
        db_index=True,
        help_text="Whom the sender identified as, if anybody.",
    )
    key = models.CharField(
        "session",
        max_length=32,
        blank=True,
        db_index=True,
        help_text="The session that they named, if there is one.",
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
