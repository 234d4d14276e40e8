"""The store itself: its methods, and where Redis is."""

from __future__ import annotations

from typing import Any, Final

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.redis.claims import Claims
from mcp_sessions.stores.redis.clients import Connected
from mcp_sessions.stores.redis.data import SessionData
from mcp_sessions.stores.redis.options import redis_settings
from mcp_sessions.stores.redis.sessions import Sessions
from mcp_sessions.stores.redis.streams import Streams
from mcp_sessions.stores.redis.workers import Workers

KEY_PREFIX: Final = "mcp:sessions"


class RedisSessionStore(Connected, Sessions, SessionData, Streams, Claims, Workers, BaseSessionStore):
    """Keeps sessions in a Redis server; every worker that uses it serves every session.

    OPTIONS: `url` ("redis://…"), or `client`, a redis.asyncio.Redis whose connection settings are
    used; and `key_prefix`, by which several projects share a server. The server keeps what it
    says it has stored only as far as its own persistence goes, and must not evict keys
    (maxmemory-policy noeviction). Redis Cluster will not do: scripts use keys of several slots.
    """

    def __init__(self, url: str | None = None, client: Any = None, key_prefix: str = KEY_PREFIX) -> None:
        if not key_prefix or not isinstance(key_prefix, str):
            raise ConfigurationError('RedisSessionStore: "key_prefix" is the text that all keys begin with.')
        super().__init__(redis_settings(url, client))
        self.key_prefix = key_prefix
