from __future__ import annotations

from typing import Any

from django.utils import timezone

from mcp_sessions import lifecycle
from mcp_sessions.management.operating import OperatorCommand
from mcp_sessions.management.progress import Progress
from mcp_sessions.stores import get_store


class Command(OperatorCommand):
    help = (
        "Ends the MCP sessions whose time ran out, and deletes those that ended KEEP_ENDED_SECONDS ago or "
        "earlier, with everything that belongs to them."
    )

    def operate(self, **options: Any) -> None:
        total = 0
        if options["verbosity"] > 0 and self.stderr.isatty():
            there = get_store().statistics(timezone.now())
            total = there.expired + there.ended
        with Progress(self.stderr, total, "Deleting sessions") as progress:
            deleted = lifecycle.purge(progress.show)
        text = f"Deleted {deleted} session{'' if deleted == 1 else 's'}."
        self.show(text, {"deleted": deleted}, options)
