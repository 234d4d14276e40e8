"""Stores on the shared server, and servers of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from mcp_sessions.stores.redis import RedisSessionStore
from tests.stores.redis.servers import RedisServer, own_server, plain_client, store_of_its_own


@pytest.fixture
def store() -> Iterator[RedisSessionStore]:
    with store_of_its_own() as store:
        yield store


@pytest.fixture
def client() -> Iterator[redis.Redis]:
    """For a look at what the store has written."""
    with plain_client() as client:
        yield client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with own_server(tmp_path) as server:
        yield server


@pytest.fixture
def own_store(server: RedisServer) -> Iterator[RedisSessionStore]:
    """A store on a server of its own, which may be slow."""
    store = RedisSessionStore(url=f"{server.url}?socket_timeout=60")
    yield store
    store.close()
