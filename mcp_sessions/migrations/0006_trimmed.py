from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mcp_sessions", "0005_operations")]

    operations = [
        migrations.AddField(
            model_name="stream",
            name="trimmed",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                help_text="Its events up to this position were deleted.",
                verbose_name="trimmed",
            ),
        ),
    ]
