from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from mcp_sessions import lifecycle


class Command(BaseCommand):
    help = "Deletes the MCP sessions that have expired or ended, with everything that belongs to them."

    def handle(self, *args: Any, **options: Any) -> None:
        deleted = lifecycle.purge()
        self.stdout.write(f"Deleted {deleted} session{'' if deleted == 1 else 's'}.")
