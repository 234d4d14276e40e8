from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mcp_sessions", "0006_trimmed")]

    operations = [
        migrations.AddField(
            model_name="worker",
            name="is_forgotten",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="Others have taken over what it had.",
                verbose_name="forgotten",
            ),
        ),
        migrations.AddIndex(
            model_name="stream",
            index=models.Index(fields=["reader"], name="mcp_sessions_stream_reader"),
        ),
    ]
