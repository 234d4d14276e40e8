"""The store that keeps sessions in Redis."""

from __future__ import annotations

from mcp_sessions.stores.redis.store import RedisSessionStore

__all__ = ["RedisSessionStore"]
