"""All tables of the app."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def leave_room(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Every append updates the stream's row. With room in its page, PostgreSQL touches no index."""
    if schema_editor.connection.vendor == "postgresql":
        table = schema_editor.quote_name(apps.get_model("mcp_sessions", "Stream")._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")


def compare_exactly(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Two owners, or two paths, that differ in case or accents are two, also on MariaDB and MySQL."""
    if schema_editor.connection.vendor == "mysql":
        for model in apps.get_app_config("mcp_sessions").get_models():
            table = schema_editor.quote_name(model._meta.db_table)
            # Columns of later migrations have the table's collation.
            schema_editor.execute(f"ALTER TABLE {table} CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Session",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="Public name of the session. It is not a credential.",
                        max_length=32,
                        verbose_name="key",
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        help_text="SHA-256 of the session id.", max_length=64, verbose_name="digest"
                    ),
                ),
                (
                    "previous_digest",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="SHA-256 of the session id before the last rotation.",
                        max_length=64,
                        verbose_name="previous digest",
                    ),
                ),
                (
                    "previous_until",
                    models.DateTimeField(
                        blank=True,
                        help_text="Until this time the previous id is accepted too.",
                        null=True,
                        verbose_name="previous until",
                    ),
                ),
                (
                    "sealed_id",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="The new id, encrypted for workers that send it to the client.",
                        max_length=255,
                        verbose_name="sealed id",
                    ),
                ),
                (
                    "server",
                    models.CharField(
                        help_text="Path of the endpoint that opened the session.",
                        max_length=200,
                        verbose_name="server",
                    ),
                ),
                (
                    "owner",
                    models.CharField(
                        blank=True,
                        help_text="Principal that owns the session; empty if anonymous.",
                        max_length=255,
                        verbose_name="owner",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("last_accessed_at", models.DateTimeField(verbose_name="last accessed at")),
                ("expires_at", models.DateTimeField(verbose_name="expires at")),
                (
                    "timeout_at",
                    models.DateTimeField(
                        help_text="When the session ends even if it is not idle. expires_at is never later.",
                        verbose_name="times out at",
                    ),
                ),
                (
                    "warned_for",
                    models.DateTimeField(
                        blank=True,
                        help_text="The expiry of which the client was last warned.",
                        null=True,
                        verbose_name="warned for",
                    ),
                ),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended at")),
                ("end_reason", models.CharField(blank=True, max_length=32, verbose_name="end reason")),
                (
                    "principal",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Digest of the owner or address whose limits include this session.",
                        max_length=32,
                        verbose_name="principal",
                    ),
                ),
                ("requests", models.BigIntegerField(db_default=0, default=0, verbose_name="requests")),
                ("connections", models.BigIntegerField(db_default=0, default=0, verbose_name="connections")),
                (
                    "address",
                    models.CharField(
                        blank=True, db_default="", default="", max_length=64, verbose_name="address"
                    ),
                ),
                (
                    "client",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Name and version of the client, in lower case.",
                        max_length=128,
                        verbose_name="client",
                    ),
                ),
                (
                    "metadata",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="Information from the client about itself.",
                        verbose_name="metadata",
                    ),
                ),
                (
                    "data",
                    models.TextField(
                        blank=True,
                        default="{}",
                        help_text="Data that the server's tools store, serialized.",
                        verbose_name="data",
                    ),
                ),
                (
                    "lease_token",
                    models.CharField(
                        blank=True,
                        help_text="Identifies the holder of the lease on the data.",
                        max_length=32,
                        verbose_name="lease token",
                    ),
                ),
                ("lease_until", models.DateTimeField(blank=True, null=True, verbose_name="leased until")),
                (
                    "inbox",
                    models.BigIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Last position given out in the session's inbox.",
                        verbose_name="inbox",
                    ),
                ),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "permissions": [
                    ("end_session", "Can end and extend sessions and send them events"),
                    ("view_session_payload", "Can view the data and events of sessions"),
                ],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["ended_at", "expires_at"], name="mcp_sessions_session_ends"),
                    models.Index(
                        fields=["principal", "ended_at", "expires_at"], name="mcp_sessions_session_counts"
                    ),
                    models.Index(fields=["created_at"], name="mcp_sessions_session_created"),
                    models.Index(fields=["previous_digest"], name="mcp_sessions_session_previous"),
                    models.Index(fields=["previous_until"], name="mcp_sessions_session_rotated"),
                    models.Index(
                        fields=["owner"], name="mcp_sessions_session_owner", opclasses=["varchar_pattern_ops"]
                    ),
                    models.Index(
                        fields=["address"],
                        name="mcp_sessions_session_address",
                        opclasses=["varchar_pattern_ops"],
                    ),
                    models.Index(
                        fields=["client"],
                        name="mcp_sessions_session_client",
                        opclasses=["varchar_pattern_ops"],
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("key",), name="mcp_sessions_session_key"),
                    models.UniqueConstraint(fields=("digest",), name="mcp_sessions_session_digest"),
                ],
            },
        ),
        migrations.CreateModel(
            name="OpeningLock",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200, verbose_name="name")),
            ],
            options={
                "verbose_name": "opening lock",
                "verbose_name_plural": "opening locks",
                "constraints": [models.UniqueConstraint(fields=("name",), name="mcp_sessions_opening_lock")],
            },
        ),
        migrations.CreateModel(
            name="Stream",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=32, verbose_name="name")),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="streams",
                        to="mcp_sessions.session",
                        verbose_name="session",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        help_text="get, post: the HTTP method that opened the stream. inbox: messages "
                        "for the session's workers. call: no stream, but a call whose response goes to a "
                        "GET stream.",
                        max_length=8,
                        verbose_name="kind",
                    ),
                ),
                (
                    "request_ids",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Requests that a POST stream answers; JSON.",
                        verbose_name="request ids",
                    ),
                ),
                (
                    "writer",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Worker that runs the calls of the stream.",
                        max_length=32,
                        verbose_name="writer",
                    ),
                ),
                (
                    "reader",
                    models.CharField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Worker that has the client's connection.",
                        max_length=32,
                        verbose_name="reader",
                    ),
                ),
                (
                    "attached_at",
                    models.DateTimeField(
                        help_text="When that connection began.", null=True, verbose_name="attached at"
                    ),
                ),
                (
                    "idle_since",
                    models.DateTimeField(
                        db_index=True,
                        help_text="Since when nobody reads or writes the stream. Such streams are "
                        "deleted later.",
                        null=True,
                        verbose_name="idle since",
                    ),
                ),
                (
                    "position",
                    models.BigIntegerField(
                        default=0, help_text="Last position given out.", verbose_name="position"
                    ),
                ),
                (
                    "delivered",
                    models.BigIntegerField(
                        default=0,
                        help_text="Last position that was sent to the client.",
                        verbose_name="delivered",
                    ),
                ),
                (
                    "trimmed",
                    models.BigIntegerField(
                        db_default=0,
                        default=0,
                        help_text="Last position whose event was trimmed.",
                        verbose_name="trimmed",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended at")),
            ],
            options={
                "verbose_name": "stream",
                "verbose_name_plural": "streams",
                "indexes": [
                    models.Index(fields=["writer"], name="mcp_sessions_stream_writer"),
                    models.Index(fields=["reader"], name="mcp_sessions_stream_reader"),
                ],
                "constraints": [models.UniqueConstraint(fields=("name",), name="mcp_sessions_stream_name")],
            },
        ),
        migrations.CreateModel(
            name="StreamEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "stream",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="events",
                        to="mcp_sessions.stream",
                        verbose_name="stream",
                    ),
                ),
                (
                    "position",
                    models.BigIntegerField(help_text="Place in the stream, from 1.", verbose_name="position"),
                ),
                (
                    "name",
                    models.CharField(
                        blank=True,
                        help_text="SSE event name. In an inbox: the request to the client that the "
                        "message answers.",
                        max_length=64,
                        verbose_name="name",
                    ),
                ),
                ("data", models.TextField(verbose_name="data")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
            ],
            options={
                "verbose_name": "stream event",
                "verbose_name_plural": "stream events",
                "constraints": [
                    models.UniqueConstraint(fields=("stream", "position"), name="mcp_sessions_event_position")
                ],
            },
        ),
        migrations.CreateModel(
            name="Subscription",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="subscriptions",
                        to="mcp_sessions.session",
                        verbose_name="session",
                    ),
                ),
                ("uri", models.TextField(verbose_name="URI")),
                (
                    "uri_digest",
                    models.CharField(
                        db_index=True,
                        help_text="SHA-256. A URI is too long for an index.",
                        max_length=64,
                        verbose_name="URI digest",
                    ),
                ),
            ],
            options={
                "verbose_name": "subscription",
                "verbose_name_plural": "subscriptions",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("session", "uri_digest"), name="mcp_sessions_subscribed_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="PendingRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="pending_requests",
                        to="mcp_sessions.session",
                        verbose_name="session",
                    ),
                ),
                ("name", models.CharField(max_length=32, verbose_name="name")),
                ("waits_until", models.DateTimeField(db_index=True, verbose_name="waits until")),
            ],
            options={
                "verbose_name": "pending request",
                "verbose_name_plural": "pending requests",
                "constraints": [
                    models.UniqueConstraint(fields=("session", "name"), name="mcp_sessions_asked_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="OnceCall",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="once_calls",
                        to="mcp_sessions.session",
                        verbose_name="session",
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="SHA-256 of what makes two calls the same. Arguments are not stored.",
                        max_length=64,
                        verbose_name="name",
                    ),
                ),
                (
                    "worker",
                    models.CharField(
                        help_text="Worker that runs the call, or has run it.",
                        max_length=32,
                        verbose_name="worker",
                    ),
                ),
                (
                    "token",
                    models.CharField(
                        help_text="Identifies the attempt that runs the call.",
                        max_length=32,
                        verbose_name="token",
                    ),
                ),
                (
                    "outcome",
                    models.TextField(
                        blank=True, help_text="JSON; empty while the call runs.", verbose_name="outcome"
                    ),
                ),
                (
                    "keep_seconds",
                    models.FloatField(
                        help_text="Seconds for which the outcome is kept.", verbose_name="kept for"
                    ),
                ),
                (
                    "expires_at",
                    models.DateTimeField(
                        db_index=True, help_text="On the database's clock.", verbose_name="expires at"
                    ),
                ),
            ],
            options={
                "verbose_name": "once-only call",
                "verbose_name_plural": "once-only calls",
                "constraints": [
                    models.UniqueConstraint(fields=("session", "name"), name="mcp_sessions_happens_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Notification",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "names",
                    models.TextField(
                        help_text="Names of streams and keys of sessions, separated by spaces.",
                        verbose_name="names",
                    ),
                ),
                (
                    "token",
                    models.CharField(
                        help_text="Identifies the transaction, so that a retry does not repeat it.",
                        max_length=32,
                        verbose_name="token",
                    ),
                ),
                ("created_at", models.DateTimeField(db_index=True, verbose_name="created at")),
            ],
            options={
                "verbose_name": "notification",
                "verbose_name_plural": "notifications",
                "constraints": [
                    models.UniqueConstraint(fields=("token",), name="mcp_sessions_notification_token")
                ],
            },
        ),
        migrations.CreateModel(
            name="RateLimit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="What is limited, and for whom. Not a secret.",
                        max_length=64,
                        verbose_name="name",
                    ),
                ),
                (
                    "tat",
                    models.BigIntegerField(
                        help_text="Microseconds since 1970. After this time the row can be deleted.",
                        verbose_name="theoretical arrival time",
                    ),
                ),
                (
                    "charged_at",
                    models.BigIntegerField(help_text="Microseconds since 1970.", verbose_name="charged at"),
                ),
                (
                    "is_admitted",
                    models.BooleanField(
                        help_text="Whether the last request was admitted.", verbose_name="admitted"
                    ),
                ),
            ],
            options={
                "verbose_name": "rate limit",
                "verbose_name_plural": "rate limits",
                "constraints": [models.UniqueConstraint(fields=("name",), name="mcp_sessions_rate_limit")],
            },
        ),
        migrations.CreateModel(
            name="Worker",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="New at every start, and after the worker was lost.",
                        max_length=32,
                        verbose_name="name",
                    ),
                ),
                ("started_at", models.DateTimeField(verbose_name="started at")),
                (
                    "heartbeat_at",
                    models.DateTimeField(
                        help_text="On the database's clock.", verbose_name="last heartbeat at"
                    ),
                ),
                ("lost_at", models.DateTimeField(blank=True, null=True, verbose_name="lost at")),
                (
                    "is_forgotten",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="Other workers have taken over its work.",
                        verbose_name="forgotten",
                    ),
                ),
            ],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
                "constraints": [models.UniqueConstraint(fields=("name",), name="mcp_sessions_worker_name")],
            },
        ),
        migrations.CreateModel(
            name="SessionHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField(help_text="When the hour began.", verbose_name="hour")),
                (
                    "server",
                    models.CharField(
                        blank=True,
                        help_text="Path of the endpoint; empty for all endpoints.",
                        max_length=200,
                        verbose_name="server",
                    ),
                ),
                ("opened", models.BigIntegerField(verbose_name="opened")),
                ("ended", models.BigIntegerField(verbose_name="ended")),
                (
                    "live",
                    models.BigIntegerField(
                        help_text="Live sessions just before the hour began.", verbose_name="live"
                    ),
                ),
                (
                    "peak",
                    models.BigIntegerField(help_text="Most live sessions at one time.", verbose_name="peak"),
                ),
                (
                    "duration",
                    models.BigIntegerField(
                        help_text="Total lifetime of the sessions that ended, in microseconds.",
                        verbose_name="duration",
                    ),
                ),
                (
                    "requests",
                    models.BigIntegerField(help_text="Of the sessions that ended.", verbose_name="requests"),
                ),
                (
                    "connections",
                    models.BigIntegerField(
                        help_text="Of the sessions that ended.", verbose_name="connections"
                    ),
                ),
                (
                    "kinds",
                    models.JSONField(
                        help_text="Counts by client, protocol version and end reason.", verbose_name="kinds"
                    ),
                ),
                (
                    "durations",
                    models.JSONField(
                        help_text="Ended sessions by class of duration.", verbose_name="durations"
                    ),
                ),
                (
                    "is_purged",
                    models.BooleanField(
                        default=False,
                        help_text="Sessions that ended in the hour may have been deleted.",
                        verbose_name="purged",
                    ),
                ),
            ],
            options={
                "verbose_name": "hour",
                "verbose_name_plural": "hours",
                "constraints": [
                    models.UniqueConstraint(fields=("hour", "server"), name="mcp_sessions_hour_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="RefusalHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        help_text="SHA-256 of the fields that the requests have in common.",
                        max_length=64,
                        verbose_name="name",
                    ),
                ),
                (
                    "hour",
                    models.DateTimeField(
                        db_index=True, help_text="When the hour began.", verbose_name="hour"
                    ),
                ),
                ("server", models.CharField(max_length=200, verbose_name="endpoint")),
                ("reason", models.CharField(max_length=32, verbose_name="reason")),
                ("address", models.CharField(blank=True, max_length=64, verbose_name="address")),
                (
                    "owner",
                    models.CharField(
                        blank=True,
                        db_index=True,
                        help_text="Principal that sent the requests, if known.",
                        max_length=255,
                        verbose_name="owner",
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        blank=True,
                        db_index=True,
                        help_text="Session that the requests named, if it exists.",
                        max_length=32,
                        verbose_name="session",
                    ),
                ),
                ("count", models.BigIntegerField(verbose_name="requests")),
                ("last_at", models.DateTimeField(db_index=True, verbose_name="last")),
            ],
            options={
                "verbose_name": "refusal",
                "verbose_name_plural": "refusals",
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("name",), name="mcp_sessions_refusal_hour")],
            },
        ),
        migrations.RunPython(leave_room, migrations.RunPython.noop, elidable=False),
        # MariaDB changes no table inside a transaction.
        migrations.RunPython(compare_exactly, migrations.RunPython.noop, atomic=False, elidable=False),
    ]
