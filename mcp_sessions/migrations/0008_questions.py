import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("mcp_sessions", "0007_forgotten"),
    ]

    operations = [
        migrations.AddField(
            model_name="inboxmessage",
            name="question",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Which it was posted to.",
                max_length=32,
                verbose_name="question",
            ),
        ),
        migrations.CreateModel(
            name="Question",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=32, verbose_name="name")),
                ("waits_until", models.DateTimeField(db_index=True, verbose_name="waited for until")),
                (
                    "session",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="questions",
                        to="mcp_sessions.session",
                        verbose_name="session",
                    ),
                ),
            ],
            options={
                "verbose_name": "question",
                "verbose_name_plural": "questions",
                "constraints": [
                    models.UniqueConstraint(fields=("session", "name"), name="mcp_sessions_asked_once")
                ],
            },
        ),
    ]
