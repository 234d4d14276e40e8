"""Both forms of the verbs, their connections, and how few of them a verb needs."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
import redis.asyncio

from mcp_sessions.exceptions import LimitReached, StoreUnavailable
from mcp_sessions.records import Append, Limits, Send
from mcp_sessions.stores.redis import RedisSessionStore
from mcp_sessions.testing.store_contract.builders import NOW, make_session, messages, put, put_read
from mcp_sessions.testing.store_contract.observing import together
from tests.stores.database.aliases import until
from tests.stores.redis.servers import RedisServer, plain_client


def connections(client: redis.Redis) -> int:
    """How many there are besides this one."""
    return len(client.client_list(_type="normal")) - 1


def commands(client: redis.Redis, work: Callable[[], Any]) -> dict[str, int]:
    """What clients sent while this was done, by the name of the command."""
    client.config_resetstat()
    work()
    stats = client.info("commandstats")
    sent = {name.removeprefix("cmdstat_"): stats[name]["calls"] for name in stats}
    return {name: count for name, count in sent.items() if name in {"evalsha", "eval", "multi"}}


class TestForms:
    def test_awaited_verbs_run_on_the_loop(self, store: RedisSessionStore) -> None:
        session = put(store)

        async def run() -> set[threading.Thread]:
            await asyncio.gather(*(store.aload(session.digest) for _ in range(50)))
            return set(threading.enumerate())

        # One that another test has left may end meanwhile.
        before = set(threading.enumerate())
        assert asyncio.run(run()) <= before

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_connection_that_uvloop_has_seen_closed_is_a_broken_one(
        self, store: RedisSessionStore, monkeypatch: pytest.MonkeyPatch, times: int
    ) -> None:
        """It says so by a RuntimeError, which no verb raises: an event would be taken for refused."""
        session, send = put(store), redis.asyncio.Redis.execute_command
        failures = iter(range(times))

        async def fail_first(client: redis.asyncio.Redis, *command: Any) -> Any:
            if next(failures, None) is not None:
                raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")
            return await send(client, *command)

        monkeypatch.setattr(redis.asyncio.Redis, "execute_command", fail_first)
        if times == 1:
            assert together(store.aload(session.digest)) == [session]
            return
        with pytest.raises(StoreUnavailable):
            together(store.aload(session.digest))
        assert together(store.aappend([Send(session.key, "message", "a")]))[0][0]

    def test_what_is_no_verb_gets_a_thread(self, store: RedisSessionStore) -> None:
        [thread] = together(store.arun(threading.current_thread))
        assert thread is not threading.current_thread()

    @pytest.mark.parametrize("is_awaited", [False, True])
    def test_a_verb_is_one_script(
        self, server: RedisServer, own_store: RedisSessionStore, is_awaited: bool
    ) -> None:
        session = put(own_store)
        name = put_read(own_store, session)
        batch = [Append(name, messages(*"abc")), *(Send(session.key, "message", "d") for _ in range(50))]

        def load() -> None:
            together(own_store.aload(session.digest)) if is_awaited else own_store.load(session.digest)

        def append() -> None:
            together(own_store.aappend(batch)) if is_awaited else own_store.append(batch)

        with plain_client(server.url) as client:
            for verb in (load, append):
                verb()
                assert commands(client, verb) == {"evalsha": 1}


class TestCancelling:
    """Whenever it comes, a cancellation is not lost, and nobody gets an answer that was another's."""

    def test_a_verb_that_is_cancelled(self, store: RedisSessionStore) -> None:
        sessions = [put(store) for _ in range(4)]

        async def load_and_wait() -> None:
            await store.aload(sessions[0].digest)
            await asyncio.Event().wait()

        async def cancel_after(steps: int) -> None:
            task = asyncio.create_task(load_and_wait())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=60)
            assert done == {task}
            assert task.cancelled()

        async def run() -> None:
            for steps in range(60):
                await cancel_after(steps % 20)
                loaded = await asyncio.gather(*(store.aload(each.digest) for each in sessions))
                assert loaded == sessions

        asyncio.run(run())


class TestConnections:
    def test_a_loop_takes_its_connections_with_it(
        self, server: RedisServer, own_store: RedisSessionStore
    ) -> None:
        with plain_client(server.url) as client:
            for _ in range(3):
                together(*(own_store.aload("") for _ in range(40)))
                until(lambda: connections(client) == 0)

    def test_a_loop_that_is_over_is_forgotten(self, store: RedisSessionStore) -> None:
        """Synchronous code may begin a loop for each thing that it awaits."""

        async def run() -> weakref.ref[asyncio.AbstractEventLoop]:
            await store.aload("")
            return weakref.ref(asyncio.get_running_loop())

        loops = [asyncio.run(run()) for _ in range(3)]
        gc.collect()
        assert [loop() for loop in loops] == [None] * 3

    def test_there_are_only_so_many(self, server: RedisServer, own_store: RedisSessionStore) -> None:
        """However many wait: a hundred verbs at once need no hundred connections."""

        async def run() -> int:
            await asyncio.gather(*(own_store.aload("") for _ in range(100)))
            return connections(client)

        with plain_client(server.url) as client:
            assert 1 <= asyncio.run(run()) <= 16
            with ThreadPoolExecutor(40) as executor:
                list(executor.map(own_store.load, [""] * 100))
            assert 1 <= connections(client) <= 16

    def test_closing_gives_all_back(self, server: RedisServer, own_store: RedisSessionStore) -> None:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def run() -> None:
            await own_store.aload("")
            own_store.load("")
            asyncio.run_coroutine_threadsafe(own_store.aload(""), loop).result(30)
            assert connections(client) == 3
            own_store.close()
            await asyncio.sleep(0)

        with plain_client(server.url) as client:
            asyncio.run(run())
            until(lambda: connections(client) == 0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def test_closing_between_two_runs_of_a_loop(
        self, server: RedisServer, own_store: RedisSessionStore
    ) -> None:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(own_store.aload(""))
        own_store.close()
        with plain_client(server.url) as client:
            until(lambda: connections(client) == 0)
        loop.close()

    def test_a_forked_process_makes_connections_of_its_own(self, store: RedisSessionStore) -> None:
        session = put(store)
        assert together(store.aload(session.digest)) == [session]
        with warnings.catch_warnings():
            # Newer Pythons warn of a fork with threads.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            status = 1
            try:
                loaded = [store.load(session.digest), *together(store.aload(session.digest))]
                status = 0 if loaded == [session] * 2 else 2
                store.close()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [store.load(session.digest), *together(store.aload(session.digest))] == [session] * 2


class TestRaces:
    @pytest.mark.parametrize("replaces", [False, True])
    def test_however_many_open_at_once_the_limit_holds(
        self, store: RedisSessionStore, replaces: bool
    ) -> None:
        """200, over the connections of four loops."""
        most = []

        async def create(limits: Limits) -> int:
            try:
                return 1 - len(await store.acreate(make_session(), limits))
            except LimitReached:
                return 0

        def create_fifty(_: int) -> int:
            limits = Limits(per_principal=10, in_all=100, replaces=replaces)
            return sum(together(*(create(limits) for _ in range(50))))

        def watch() -> None:
            while not is_over.is_set():
                most.append(store.statistics(NOW, "/mcp").live)
                time.sleep(0)

        is_over = threading.Event()
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            with ThreadPoolExecutor(4) as executor:
                gained = sum(executor.map(create_fifty, range(4)))
        finally:
            is_over.set()
            watcher.join()
        assert gained == store.statistics(NOW, "/mcp").live == 10
        assert max(most) <= 10
