"""Workers, who reads and writes a stream, inboxes, and the bells that ring between processes."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("mcp_sessions", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Bell",
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
                        help_text="Names of streams and keys of sessions, with spaces between.",
                        verbose_name="names",
                    ),
                ),
                (
                    "token",
                    models.CharField(
                        help_text="Names the transaction: it takes place once.",
                        max_length=32,
                        verbose_name="token",
                    ),
                ),
                ("rung_at", models.DateTimeField(db_index=True, verbose_name="rung at")),
            ],
            options={
                "verbose_name": "bell",
                "verbose_name_plural": "bells",
            },
        ),
        migrations.CreateModel(
            name="InboxMessage",
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
                        help_text="Its place in the inbox; the first has 1.", verbose_name="position"
                    ),
                ),
                ("data", models.TextField(help_text="JSON.", verbose_name="data")),
                ("created_at", models.DateTimeField(db_index=True, verbose_name="created at")),
            ],
            options={
                "verbose_name": "inbox message",
                "verbose_name_plural": "inbox messages",
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
                        help_text="New at every start, and after it was lost.",
                        max_length=32,
                        verbose_name="name",
                    ),
                ),
                ("started_at", models.DateTimeField(verbose_name="started at")),
                (
                    "beat_at",
                    models.DateTimeField(help_text="By the database's clock.", verbose_name="last heard at"),
                ),
                ("lost_at", models.DateTimeField(blank=True, null=True, verbose_name="lost at")),
            ],
            options={
                "verbose_name": "worker",
                "verbose_name_plural": "workers",
            },
        ),
        migrations.AddField(
            model_name="session",
            name="inbox",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="The last position in its inbox.", verbose_name="inbox"
            ),
        ),
        migrations.AddField(
            model_name="stream",
            name="attached_at",
            field=models.DateTimeField(
                help_text="When that connection began.", null=True, verbose_name="attached at"
            ),
        ),
        migrations.AddField(
            model_name="stream",
            name="idle_since",
            field=models.DateTimeField(
                db_index=True,
                help_text="Since when it is neither read nor written; such streams are deleted in the end.",
                null=True,
                verbose_name="idle since",
            ),
        ),
        migrations.AddField(
            model_name="stream",
            name="reader",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The worker that has the client's connection.",
                max_length=32,
                verbose_name="reader",
            ),
        ),
        migrations.AddField(
            model_name="stream",
            name="request_ids",
            field=models.TextField(
                blank=True,
                db_default="",
                default="",
                help_text="What a POST's stream answers; JSON.",
                verbose_name="request ids",
            ),
        ),
        migrations.AddField(
            model_name="stream",
            name="writer",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="The worker that runs its calls.",
                max_length=32,
                verbose_name="writer",
            ),
        ),
        migrations.AlterField(
            model_name="stream",
            name="kind",
            field=models.CharField(
                help_text="get or post, the HTTP method that opened it; call: no stream, but a call whose "
                "answer goes to a GET stream.",
                max_length=8,
                verbose_name="kind",
            ),
        ),
        migrations.AddIndex(
            model_name="stream",
            index=models.Index(fields=["writer"], name="mcp_sessions_stream_writer"),
        ),
        migrations.AddField(
            model_name="inboxmessage",
            name="session",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="inbox_messages",
                to="mcp_sessions.session",
                verbose_name="session",
            ),
        ),
        migrations.AddConstraint(
            model_name="bell",
            constraint=models.UniqueConstraint(fields=("token",), name="mcp_sessions_bell_token"),
        ),
        migrations.AddConstraint(
            model_name="worker",
            constraint=models.UniqueConstraint(fields=("name",), name="mcp_sessions_worker_name"),
        ),
        migrations.AddConstraint(
            model_name="inboxmessage",
            constraint=models.UniqueConstraint(
                fields=("session", "position"), name="mcp_sessions_inbox_position"
            ),
        ),
    ]
