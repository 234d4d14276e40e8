"""OPTIONS: where Redis is, and what cannot work."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.stores import get_store
from mcp_sessions.stores.redis import RedisSessionStore
from mcp_sessions.stores.redis.options import redis_settings
from mcp_sessions.testing.store_contract.builders import put
from mcp_sessions.testing.store_contract.observing import together
from tests.stores.redis.servers import URL, RedisServer, keys_of, plain_client

BACKEND = "mcp_sessions.stores.redis.RedisSessionStore"


class TestPlaces:
    def test_the_store_is_chosen_by_its_path(self, settings: Any, server: RedisServer) -> None:
        options = {"url": server.url, "key_prefix": "shop:mcp"}
        chosen = {"BACKEND": BACKEND, "OPTIONS": options}
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": chosen}
        store = get_store()
        assert isinstance(store, RedisSessionStore)
        session = put(store)
        with plain_client(server.url) as client:
            assert client.exists(f"shop:mcp:session:{session.key}") == 1

    def test_two_prefixes_are_two_stores(self, server: RedisServer) -> None:
        one, other = RedisSessionStore(server.url), RedisSessionStore(server.url, key_prefix="other")
        session = put(one)
        assert one.load(session.digest) == session
        assert other.load(session.digest) is None
        with plain_client(server.url) as client:
            assert client.exists(f"mcp:sessions:session:{session.key}") == 1
            assert keys_of(other, client) == []
        one.close()
        other.close()

    def test_a_clients_settings_make_both_forms(self, server: RedisServer) -> None:
        """The client itself is neither used nor closed."""
        client = redis.asyncio.Redis(port=server.port, db=3, decode_responses=True, protocol=3)
        store = RedisSessionStore(client=client)
        session = put(store)
        assert together(store.aload(session.digest)) == [session]
        with plain_client(f"{server.url[:-1]}3") as there:
            assert there.exists(f"mcp:sessions:session:{session.key}") == 1
        store.close()

        async def use() -> bool:
            async with client:
                return bool(await client.ping())

        assert asyncio.run(use())

    def test_a_blocking_clients_will_do_too(self, server: RedisServer) -> None:
        with plain_client(server.url) as client:
            store = RedisSessionStore(client=client)
            assert together(store.aload("")) == [store.load("")] == [None]
            store.close()

    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            ("redis://somewhere", "Connection"),
            ("rediss://somewhere", "SSLConnection"),
            ("unix:///run/redis.sock", "UnixDomainSocketConnection"),
        ],
    )
    def test_every_kind_of_url(self, url: str, kind: str) -> None:
        settings = redis_settings(url, None)
        for pool in (settings.blocking_pool(), settings.async_pool()):
            assert pool.connection_class.__name__ == kind
            assert pool.connection_kwargs["socket_connect_timeout"] == 2

    def test_what_a_url_says_of_answers_does_not_count(self) -> None:
        """It may be the project's one URL, with options for others."""
        store = RedisSessionStore(url=f"{URL}?decode_responses=true&protocol=3&socket_timeout=4")
        assert store.load("") is None
        assert together(store.aload("")) == [None]
        store.close()

    def test_no_password_is_shown(self) -> None:
        assert "secret" not in repr(redis_settings("redis://:secret@somewhere", None))


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({}, '"url" or "client"'),
            ({"key_prefix": "a"}, '"url" or "client"'),
            ({"url": URL, "client": redis.asyncio.Redis()}, "not both"),
            ({"url": "http://somewhere"}, "redis://"),
            ({"url": ""}, "redis://"),
            ({"url": 6379}, '"url"'),
            ({"url": f"{URL}?socket_timeout=soon"}, "socket_timeout"),
            ({"url": URL, "key_prefix": ""}, '"key_prefix"'),
            ({"url": URL, "key_prefix": None}, '"key_prefix"'),
            ({"client": "redis"}, '"client"'),
        ],
    )
    def test_what_cannot_work_is_said_at_once(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            RedisSessionStore(**options)

    def test_a_cluster_client_is_refused(self) -> None:
        cluster = redis.asyncio.RedisCluster(host="127.0.0.1")
        with pytest.raises(ConfigurationError, match="Redis Cluster"):
            RedisSessionStore(client=cluster)

    def test_connections_of_another_kind_are_refused(self) -> None:
        class Strange(redis.asyncio.Connection):
            pass

        pool = redis.asyncio.ConnectionPool(connection_class=Strange)
        with pytest.raises(ConfigurationError, match="Strange"):
            RedisSessionStore(client=redis.asyncio.Redis(connection_pool=pool))
