"""Redis servers: the one that is there for the tests, and some of a test's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Final
from uuid import uuid4

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mcp_sessions.stores.redis import RedisSessionStore
from tests.harness.ports import free_port, is_open
from tests.harness.services import unavailable

URL: Final = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")
START_SECONDS: Final = 30.0


@contextlib.contextmanager
def store_of_its_own(url: str = URL) -> Iterator[RedisSessionStore]:
    """A store that shares the server and no key with any other; nothing of it is left."""
    # Four processes share the server and the machine: none of it need be quick.
    patient = f"{url}{'&' if '?' in url else '?'}socket_timeout=60"
    store = RedisSessionStore(url=patient, key_prefix=f"test:{uuid4().hex}")
    with plain_client(url) as client:
        try:
            client.ping()
        except redis.ConnectionError:
            unavailable(f"no Redis answers at {url}")
        yield store
        store.close()
        delete_all(store, client)


@contextlib.contextmanager
def plain_client(url: str = URL) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0))
    try:
        yield client
    finally:
        client.close()


def keys_of(store: RedisSessionStore, client: redis.Redis) -> list[str]:
    """Everything that the store has in Redis, without its prefix."""
    prefix = f"{store.key_prefix}:"
    found = client.scan_iter(f"{prefix}*", count=1000)
    return sorted(key.decode().removeprefix(prefix) for key in found)


def delete_all(store: RedisSessionStore, client: redis.Redis) -> None:
    if keys := keys_of(store, client):
        client.delete(*(f"{store.key_prefix}:{key}" for key in keys))


class RedisServer:
    """A server process on a port of its own, which can be killed and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, is_ready: bool = True) -> None:
        where = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder))
        kept = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        self._process = subprocess.Popen(
            ["redis-server", *where, *kept, *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_SECONDS
        while not (self._answers() if is_ready else is_open(self.port)):
            assert self._process.poll() is None, "the Redis server did not start"
            assert time.monotonic() < deadline, "the Redis server is not ready"
            time.sleep(0.01)

    def _answers(self) -> bool:
        """Whether it has loaded what it had. A password is no reason to wait."""
        with plain_client(self.url) as client:
            try:
                return bool(client.ping())
            except redis.AuthenticationError:
                return True
            except redis.ConnectionError:
                return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def own_server(folder: Path, *options: str, is_ready: bool = True) -> Iterator[RedisServer]:
    if which("redis-server") is None:
        unavailable("there is no redis-server to start")
    server = RedisServer(folder, *options)
    server.start(is_ready=is_ready)
    try:
        yield server
    finally:
        server.kill()
