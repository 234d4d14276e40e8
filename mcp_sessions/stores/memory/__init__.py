"""The store that keeps sessions in memory, and the base for stores of one's own."""

from __future__ import annotations

from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.store import InMemorySessionStore, StateSessionStore

__all__ = ["InMemorySessionStore", "State", "StateSessionStore"]
