"""The Redis store keeps the contract, on a server that is shared with others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mcp_sessions.stores.redis import RedisSessionStore
from mcp_sessions.testing.store_contract import StoreContract
from tests.stores.redis.servers import URL, plain_client, store_of_its_own


class TestRedis(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[RedisSessionStore]:
        with store_of_its_own() as store:
            yield store

    @pytest.fixture
    def options(self, store: RedisSessionStore) -> dict[str, str]:
        return {"url": URL, "key_prefix": store.key_prefix}

    @pytest.fixture
    def make_late(self, store: RedisSessionStore) -> Callable[[str, float], None]:
        def set_back(worker: str, seconds: float) -> None:
            with plain_client() as client:
                key = f"{store.key_prefix}:workers"
                assert client.zscore(key, worker) is not None
                client.zincrby(key, -seconds * 1_000_000, worker)

        return set_back
