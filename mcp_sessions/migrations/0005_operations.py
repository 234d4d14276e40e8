"""What operators search by, in columns and indexes of their own; and permissions of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.db import migrations, models

from mcp_sessions.records import client_of

BATCH: Final = 500


def fill(apps: Any, editor: Any) -> None:
    """What is in the metadata of the sessions that are there. Where it cannot be read, nothing is."""
    rows = apps.get_model("mcp_sessions", "Session").objects.using(editor.connection.alias)
    for batch in batches(rows.only("metadata").order_by("pk")):
        for session in batch:
            metadata = session.metadata if isinstance(session.metadata, dict) else {}
            session.address = str(metadata.get("address") or "")[:64]
            session.client = client_of(metadata).lower()[:128]
        rows.bulk_update(batch, ["address", "client"])


def batches(rows: Any) -> Iterator[list[Any]]:
    """Not by one cursor: on SQLite what is written meanwhile would be in its way."""
    last = 0
    while batch := list(rows.filter(pk__gt=last)[:BATCH]):
        last = batch[-1].pk
        yield batch


class Migration(migrations.Migration):
    dependencies = [
        ("mcp_sessions", "0004_hours"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="session",
            options={
                "default_permissions": ("view",),
                "permissions": [
                    ("end_session", "Can end and extend sessions and send them events"),
                    ("view_session_payload", "Can view the data and events of sessions"),
                ],
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
            },
        ),
        migrations.AddField(
            model_name="session",
            name="address",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=64, verbose_name="address"
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="client",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What it calls itself, name and version, in lower case.",
                max_length=128,
                verbose_name="client",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                fields=["owner"], name="mcp_sessions_session_owner", opclasses=["varchar_pattern_ops"]
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                fields=["address"], name="mcp_sessions_session_address", opclasses=["varchar_pattern_ops"]
            ),
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(
                fields=["client"], name="mcp_sessions_session_client", opclasses=["varchar_pattern_ops"]
            ),
        ),
    ]
