"""Whether the database has what this version's migrations make."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Final

from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

APP: Final = "mcp_sessions"


def unapplied(alias: str) -> list[str]:
    """The names of the app's migrations that are still to run. None where the project runs none."""
    module, _is_own = MigrationLoader.migrations_module(APP)
    if module is None:
        return []
    names = {name for _, name, _ in pkgutil.iter_modules(import_module(module).__path__)}
    applied = MigrationRecorder(connections[alias]).applied_migrations()
    return sorted(names - {name for app, name in applied if app == APP})
