"""The inbox of a session is a stream. What was in inboxes lived for an hour at most."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("mcp_sessions", "0011_refusals"),
    ]

    operations = [
        migrations.DeleteModel(name="InboxMessage"),
        migrations.RenameModel(old_name="Question", new_name="PendingRequest"),
        migrations.AlterModelOptions(
            name="pendingrequest",
            options={"verbose_name": "pending request", "verbose_name_plural": "pending requests"},
        ),
        migrations.AlterField(
            model_name="pendingrequest",
            name="session",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="pending_requests",
                to="mcp_sessions.session",
                verbose_name="session",
            ),
        ),
        migrations.AlterField(
            model_name="stream",
            name="kind",
            field=models.CharField(
                help_text="get or post, the HTTP method that opened it; inbox: messages for the workers of "
                "the session; call: no stream, but a call whose answer goes to a GET stream.",
                max_length=8,
                verbose_name="kind",
            ),
        ),
        migrations.AlterField(
            model_name="streamevent",
            name="name",
            field=models.CharField(
                blank=True,
                help_text="Its SSE event name. In an inbox: the request to the client to which it belongs.",
                max_length=64,
                verbose_name="name",
            ),
        ),
    ]
