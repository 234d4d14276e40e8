"""What was counted of each hour, which outlives the sessions."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("mcp_sessions", "0003_lifetimes"),
    ]

    operations = [
        migrations.CreateModel(
            name="SessionHour",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("hour", models.DateTimeField(help_text="When it began.", verbose_name="hour")),
                (
                    "server",
                    models.CharField(
                        blank=True,
                        help_text="Path of the endpoint; empty: all together.",
                        max_length=200,
                        verbose_name="server",
                    ),
                ),
                ("opened", models.BigIntegerField(verbose_name="opened")),
                ("ended", models.BigIntegerField(verbose_name="ended")),
                (
                    "live",
                    models.BigIntegerField(help_text="Just before the hour began.", verbose_name="live"),
                ),
                (
                    "peak",
                    models.BigIntegerField(
                        help_text="The most that lived at one instant.", verbose_name="peak"
                    ),
                ),
                (
                    "duration",
                    models.BigIntegerField(
                        help_text="Microseconds that the sessions lived that ended, taken together.",
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
                        help_text="What clients said about themselves and why sessions ended, counted.",
                        verbose_name="kinds",
                    ),
                ),
                (
                    "durations",
                    models.JSONField(
                        help_text="Class of durations: how many sessions that ended.",
                        verbose_name="durations",
                    ),
                ),
                (
                    "is_purged",
                    models.BooleanField(
                        default=False,
                        help_text="Sessions that ended in it may have been deleted.",
                        verbose_name="purged",
                    ),
                ),
            ],
            options={
                "verbose_name": "hour",
                "verbose_name_plural": "hours",
            },
        ),
        migrations.AddIndex(
            model_name="session",
            index=models.Index(fields=["created_at"], name="mcp_sessions_session_created"),
        ),
        migrations.AddConstraint(
            model_name="sessionhour",
            constraint=models.UniqueConstraint(fields=("hour", "server"), name="mcp_sessions_hour_once"),
        ),
    ]
