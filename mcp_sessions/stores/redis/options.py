"""OPTIONS of the store: where Redis is, turned into pools of connections, blocking and awaited.

Both are made from the same settings, whether those are a URL or somebody's client, and both are
the store's own: what is given is neither used nor closed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ReadOnlyError
from redis.retry import Retry

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.stores.redis.commands import NO_CLUSTER
from mcp_sessions.stores.redis.values import ERRORS

CONNECT_SECONDS: Final = 2.0
"""A server that does not accept a connection for so long is away."""
ANSWER_SECONDS: Final = 5.0
"""So is one that does not answer for so long: a script takes milliseconds."""
CONNECTIONS: Final = 16
"""In each of the pools. Redis does one thing at a time; a caller that finds none free waits."""

_KEPT: Final = frozenset({"host", "port", "db", "username", "password", "path", "credential_provider"})
_KEPT_TOO: Final = ("socket_", "ssl_", "client_name", "health_check_interval", "max_connections")
_KINDS: Final = ("Connection", "SSLConnection", "UnixDomainSocketConnection")


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """What connections are made of: a kind of connection, and its options."""

    kind: str = "Connection"
    options: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def answer_seconds(self) -> float:
        return float(self.options.get("socket_timeout", ANSWER_SECONDS))

    def blocking_pool(self) -> redis.BlockingConnectionPool:
        kind: Any = getattr(redis, self.kind)
        options = {**self._all(), "timeout": self.answer_seconds, "retry": Retry(NoBackoff(), 1, ())}
        return redis.BlockingConnectionPool(connection_class=kind, **options)  # type: ignore[no-untyped-call]

    def async_pool(self) -> redis.asyncio.BlockingConnectionPool:
        """Without timeouts of its own but for connecting: see `Clients.arun`."""
        kind: Any = getattr(redis.asyncio, self.kind)
        options = {**self._all(), "socket_timeout": None, "retry": AsyncRetry(NoBackoff(), 1, ())}
        return redis.asyncio.BlockingConnectionPool(connection_class=kind, timeout=None, **options)

    def _all(self) -> dict[str, Any]:
        return {
            "socket_connect_timeout": CONNECT_SECONDS,
            "max_connections": CONNECTIONS,
            **self.options,
            "socket_timeout": self.answer_seconds,
            # A connection to a master that was demoted is closed. Nothing was written, so the command goes
            # out again on a new one, which may reach the new master.
            "retry_on_error": [ReadOnlyError],
            # Answers are bytes that the store decodes itself. Only it knows what else may be tried again.
            "decode_responses": False,
            "encoding": "utf-8",
            "encoding_errors": ERRORS,
            "protocol": 2,
        }


def redis_settings(url: str | None, client: Any) -> RedisSettings:
    """The settings that OPTIONS say. Raises ConfigurationError unless they name one server."""
    if (url is None) == (client is None):
        raise ConfigurationError('RedisSessionStore: OPTIONS must have "url" or "client", and not both.')
    return _of_url(url) if url is not None else _of_client(client)


def _of_url(url: str) -> RedisSettings:
    try:
        options = parse_url(url)  # type: ignore[no-untyped-call]
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigurationError(f'RedisSessionStore: "url" is no URL of a Redis server: {error}') from error
    kind = options.pop("connection_class", redis.Connection)
    return RedisSettings(kind.__name__, _kept(options))


def _of_client(client: Any) -> RedisSettings:
    if isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster):
        raise ConfigurationError(NO_CLUSTER)
    if not isinstance(client, redis.Redis | redis.asyncio.Redis):
        raise ConfigurationError(f'RedisSessionStore: "client" is no redis.asyncio.Redis: {type(client)}')
    pool = client.connection_pool
    kind = pool.connection_class.__name__
    if kind not in _KINDS:
        raise ConfigurationError(
            f'RedisSessionStore: "client" has connections of its own kind ({kind}). Use "url".'
        )
    return RedisSettings(kind, _kept(pool.connection_kwargs))


def _kept(options: dict[str, Any]) -> dict[str, Any]:
    """The options that say where the server is and how it is reached."""
    return {
        name: value
        for name, value in options.items()
        if value is not None and (name in _KEPT or name.startswith(_KEPT_TOO))
    }
