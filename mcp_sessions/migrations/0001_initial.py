"""The tables of sessions, their streams, events and subscriptions."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def leave_room(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """A stream's row changes at every append; where its page has room, no index is touched."""
    if schema_editor.connection.vendor == "postgresql":
        table = schema_editor.quote_name(apps.get_model("mcp_sessions", "Stream")._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} SET (fillfactor = 50)")


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
                        help_text="The public name; it opens nothing.",
                        max_length=32,
                        verbose_name="key",
                    ),
                ),
                (
                    "digest",
                    models.CharField(
                        help_text="SHA-256 of the session id.",
                        max_length=64,
                        verbose_name="digest",
                    ),
                ),
                (
                    "server",
                    models.CharField(
                        help_text="Path of the endpoint it was opened at.",
                        max_length=200,
                        verbose_name="server",
                    ),
                ),
                (
                    "owner",
                    models.CharField(
                        blank=True,
                        help_text="The principal it belongs to; empty when anonymous.",
                        max_length=255,
                        verbose_name="owner",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("last_accessed_at", models.DateTimeField(verbose_name="last accessed at")),
                ("expires_at", models.DateTimeField(db_index=True, verbose_name="expires at")),
                (
                    "ended_at",
                    models.DateTimeField(blank=True, db_index=True, null=True, verbose_name="ended at"),
                ),
                ("end_reason", models.CharField(blank=True, max_length=32, verbose_name="reason of the end")),
                (
                    "metadata",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="What the client said about itself, and counts of use.",
                        verbose_name="metadata",
                    ),
                ),
                (
                    "data",
                    models.JSONField(
                        blank=True,
                        default=dict,
                        help_text="What the server's tools keep.",
                        verbose_name="data",
                    ),
                ),
                (
                    "lease_token",
                    models.CharField(
                        blank=True,
                        help_text="Names who has the data for editing right now.",
                        max_length=32,
                        verbose_name="lease",
                    ),
                ),
                ("lease_until", models.DateTimeField(blank=True, null=True, verbose_name="leased until")),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "constraints": [
                    models.UniqueConstraint(fields=("key",), name="mcp_sessions_session_key"),
                    models.UniqueConstraint(fields=("digest",), name="mcp_sessions_session_digest"),
                ],
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
                    "kind",
                    models.CharField(
                        help_text="The HTTP method that opened it: get or post.",
                        max_length=8,
                        verbose_name="kind",
                    ),
                ),
                (
                    "position",
                    models.BigIntegerField(
                        default=0, help_text="The last position given out.", verbose_name="position"
                    ),
                ),
                (
                    "delivered",
                    models.BigIntegerField(
                        default=0,
                        help_text="How far it has been sent to its client.",
                        verbose_name="delivered",
                    ),
                ),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended at")),
                (
                    "session",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="streams",
                        to="mcp_sessions.session",
                        verbose_name="session",
                    ),
                ),
            ],
            options={
                "verbose_name": "stream",
                "verbose_name_plural": "streams",
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
                    "position",
                    models.BigIntegerField(
                        help_text="Its place in the stream; the first has 1.", verbose_name="position"
                    ),
                ),
                (
                    "name",
                    models.CharField(help_text="Its SSE event name.", max_length=64, verbose_name="name"),
                ),
                ("data", models.TextField(verbose_name="data")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
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
                ("uri", models.TextField(verbose_name="URI")),
                (
                    "uri_digest",
                    models.CharField(
                        db_index=True,
                        help_text="SHA-256; a URI is too long for an index.",
                        max_length=64,
                        verbose_name="digest of the URI",
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
        migrations.RunPython(leave_room, migrations.RunPython.noop, elidable=False),
    ]
