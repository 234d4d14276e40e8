"""The log says at the start if the database was not migrated, before the first client meets it."""

from __future__ import annotations

import logging
from contextlib import suppress

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_row_keeper
from mcp_sessions.stores.migrated import unapplied

logger = logging.getLogger("mcp_sessions.lifecycle")


def look_for_migrations() -> None:
    """Soon, and deferred, so that a database that does not answer holds up no start."""
    current().spawn(_look(), "migrations")


async def _look() -> None:
    # Not before apps are ready: asgi.py imports the mount, and that this module.
    from mcp_sessions.analytics.errors import with_store_errors

    if (rows := get_row_keeper()) is None:
        return
    # Late: it has models, and the mount is imported before Django's apps are ready.

    # Requests show if the database is unavailable.
    with suppress(StoreUnavailable):
        if names := await rows.arun(with_store_errors, rows.alias, unapplied, rows.alias):
            text = "the database %r lacks migrations of mcp_sessions, run manage.py migrate: %s"
            logger.error(text, rows.alias, ", ".join(names))
