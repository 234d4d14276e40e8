"""The store that keeps sessions in a database of the project."""

from __future__ import annotations

from mcp_sessions.stores.database.store import DatabaseSessionStore

__all__ = ["DatabaseSessionStore"]
