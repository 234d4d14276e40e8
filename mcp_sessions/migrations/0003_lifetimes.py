"""Lifetimes, limits, counts in columns of their own, and data as any serializer writes it."""

from __future__ import annotations

from typing import Any

import django.utils.timezone
from django.db import migrations, models


def fill(apps: Any, editor: Any) -> None:
    """Sessions that live go on as they were: their only end was the timeout, their counts were metadata."""
    rows = apps.get_model("mcp_sessions", "Session").objects.using(editor.connection.alias)
    rows.update(timeout_at=models.F("expires_at"))
    for session in rows.only("metadata").iterator():
        counts = {name: session.metadata.pop(name, 0) for name in ("requests", "connections")}
        rows.filter(pk=session.pk).update(metadata=session.metadata, **counts)


class Migration(migrations.Migration):
    dependencies = [
        ("mcp_sessions", "0002_workers"),
    ]

    operations = [
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
                "verbose_name": "lock on openings",
                "verbose_name_plural": "locks on openings",
            },
        ),
        migrations.AddField(
            model_name="session",
            name="connections",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="connections"),
        ),
        migrations.AddField(
            model_name="session",
            name="principal",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Digest of the owner or address that it counts for at the limits.",
                max_length=32,
                verbose_name="counts for",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="requests",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="requests"),
        ),
        migrations.AddField(
            model_name="session",
            name="timeout_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="Its end whether or not it is idle; expires at is never later.",
                verbose_name="times out at",
            ),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="session",
            name="warned_for",
            field=models.DateTimeField(
                blank=True,
                help_text="The end that its client was last warned of.",
                null=True,
                verbose_name="warned for",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="data",
            field=models.TextField(
                blank=True,
                default="{}",
                help_text="What the server's tools keep, serialized.",
                verbose_name="data",
            ),
        ),
        migrations.AlterField(
            model_name="session",
            name="ended_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="ended at"),
        ),
        migrations.AlterField(
            model_name="session",
            name="expires_at",
            field=models.DateTimeField(verbose_name="expires at"),
        ),
        migrations.AlterField(
            model_name="session",
            name="metadata",
            field=models.JSONField(
                blank=True,
                default=dict,
                help_text="What the client said about itself.",
                verbose_name="metadata",
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(fields=["ended_at", "expires_at"], name="mcp_sessions_session_ends"),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                fields=["principal", "ended_at", "expires_at"], name="mcp_sessions_session_counts"
            ),
        ),
        migrations.AddConstraint(
            model_name="openinglock",
            constraint=models.UniqueConstraint(fields=("name",), name="mcp_sessions_opening_lock"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
