"""A Redis that is away, silent or refuses: clear errors, nothing hangs, and it recovers by itself."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ResponseError

from mcp_sessions.exceptions import ConfigurationError, InvalidSessionData, SessionEnded, StoreUnavailable
from mcp_sessions.gcra import Charge, Rate
from mcp_sessions.identifiers import new_key, new_stream_name, new_token
from mcp_sessions.records import Append, Claim, Rotation, Send, Touch
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.redis import RedisSessionStore
from mcp_sessions.stores.redis.commands import LEAST_LIMIT, is_too_long
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    apost,
    make_session,
    messages,
    post,
    put,
    put_stream,
)
from mcp_sessions.testing.store_contract.observing import texts_of, together
from tests.harness.gate import Gate
from tests.harness.ports import free_port
from tests.stores.database.aliases import until
from tests.stores.redis.servers import RedisServer, own_server, plain_client

SESSION = make_session()
CLAIM = Claim(SESSION.key, "0" * 64, "worker", "mine", 60)
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "create": (SESSION,),
    "load": (SESSION.digest,),
    "load_by_key": (SESSION.key,),
    "live_sessions": ("/mcp", NOW, "", 10),
    "keys_of": ("/mcp", "a-principal", NOW, 10),
    "save_metadata": (SESSION.key, {"a": 1}),
    "touch": ([Touch(SESSION.key, NOW, NOW, NOW)],),
    "end": (SESSION.key, NOW, "deleted"),
    "expire": (NOW, 10),
    "purge": (NOW, 10),
    "rotate": (SESSION.key, SESSION.digest, Rotation("0" * 64, "sealed", NOW)),
    "warn": (SESSION.key, NOW),
    "expiring": ("/mcp", NOW, NOW + HOUR, 10),
    "statistics": (NOW,),
    "count_live": (NOW,),
    "lease": (SESSION.key, "mine", NOW, NOW + HOUR),
    "renew": (SESSION.key, "mine", NOW),
    "release": (SESSION.key, "mine", {}),
    "subscribe": (SESSION.key, "file:///a"),
    "unsubscribe": (SESSION.key, "file:///a"),
    "subscribers": ("file:///a", NOW),
    "open_stream": (SESSION.key, new_stream_name(), "get"),
    "attach": (SESSION.key, new_stream_name(), "worker", 0, None),
    "mark_delivered": ("worker", {"stream": 1}),
    "append": ([Append("stream", messages("a"))],),
    "read": ("stream", 0, 10),
    "find_streams": (["stream"],),
    "last_events": (["stream"], 10),
    "trim": (["stream"], 1, NOW),
    "delete_unreachable": (NOW, 10),
    "add_request": (SESSION.key, "request", NOW, 10),
    "drop_request": (SESSION.key, "request"),
    "claim": (CLAIM, 10),
    "settle": (CLAIM, "done"),
    "unclaim": (CLAIM,),
    "charge": (Charge("limit", Rate(10, 60, 5)),),
    "changes": (0,),
    "notify": (["a-name"],),
    "last_change": (NOW,),
    "enlist": ("worker",),
    "beat": ("worker",),
    "find_lost": (10.0,),
    "take_over": ("lost", "worker", 10),
    "leave": ("worker",),
}
NO_VERBS = {"arun", "start_thread", "close"}


def forms(store: BaseSessionStore, name: str) -> list[Callable[[], Any]]:
    """Both forms of a verb, with arguments."""
    arguments = ARGUMENTS[name]
    found: list[Callable[[], Any]] = [lambda: getattr(store, name)(*arguments)]
    if hasattr(store, f"a{name}"):
        found.append(lambda: together(getattr(store, f"a{name}")(*arguments)))
    return found


def test_every_verb_is_tried() -> None:
    assert BaseSessionStore.__abstractmethods__ - NO_VERBS | {"count_live"} == ARGUMENTS.keys()


class TestAway:
    @pytest.fixture
    def nowhere(self) -> Iterator[RedisSessionStore]:
        store = RedisSessionStore(url=f"redis://127.0.0.1:{free_port()}/0")
        yield store
        store.close()

    @pytest.mark.parametrize("name", ARGUMENTS)
    def test_every_verb_says_that_redis_is_not_there(self, nowhere: RedisSessionStore, name: str) -> None:
        for form in forms(nowhere, name):
            with pytest.raises(StoreUnavailable, match="cannot be reached"):
                form()

    def test_the_store_is_back_when_redis_is(self, server: RedisServer, own_store: RedisSessionStore) -> None:
        """Whatever connections it had from before."""
        session = put(own_store)
        together(*(own_store.aload(session.digest) for _ in range(20)))
        for n in range(3):
            server.kill()
            with pytest.raises(StoreUnavailable):
                own_store.load(session.digest)
            with pytest.raises(StoreUnavailable):
                own_store.save_metadata(session.key, {"n": n})
            server.start()
            assert own_store.touch([Touch(session.key, NOW, NOW, NOW, requests=1)]) == []
            found = own_store.load(session.digest)
            assert found is not None
            assert found.requests == n + 1

    def test_a_loop_finds_back_too(self, server: RedisServer, own_store: RedisSessionStore) -> None:
        session = put(own_store)

        async def run() -> None:
            for n in range(2):
                await asyncio.gather(*(own_store.aload(session.digest) for _ in range(20)))
                server.kill()
                with pytest.raises(StoreUnavailable):
                    await apost(own_store, session.key, "1")
                server.start()
                posted = await asyncio.gather(*(apost(own_store, session.key, "1") for _ in range(20)))
                assert posted == [True] * 20
                found = await own_store.aload(session.digest)
                assert found is not None
                assert found.inbox == 20 * (n + 1)

        asyncio.run(run())


class TestSilent:
    @pytest.fixture
    def stopped(self, server: RedisServer) -> Iterator[RedisSessionStore]:
        """A store whose server takes connections and answers none."""
        store = RedisSessionStore(url=f"{server.url}?socket_timeout=1&socket_connect_timeout=1")
        store.load("")
        os.kill(server.pid, signal.SIGSTOP)
        yield store
        os.kill(server.pid, signal.SIGCONT)
        store.close()

    @pytest.mark.parametrize("name", ["load", "append", "save_metadata"])
    def test_a_server_that_does_not_answer(
        self, stopped: RedisSessionStore, server: RedisServer, name: str
    ) -> None:
        for form in forms(stopped, name):
            with pytest.raises(StoreUnavailable, match="does not answer"):
                form()
        os.kill(server.pid, signal.SIGCONT)
        with plain_client(server.url) as client:
            # However long it takes to come back: only then is it the store's turn.
            client.ping()
        assert stopped.load("") is None
        assert together(stopped.aload("")) == [None]


class TestBroken:
    """The connection is cut while the answer is waited for."""

    @pytest.fixture
    def cut(self, server: RedisServer) -> Callable[[Callable[[], Any]], Any]:
        """Do something, cut its connection, and let Redis answer what comes after."""

        def cut_while(work: Callable[[], Any]) -> Any:
            with plain_client(server.url) as client, ThreadPoolExecutor(1) as executor:
                client.client_pause(60_000, all=False)
                doing = executor.submit(work)
                until(lambda: client.info("clients")["blocked_clients"] == 1)
                client.client_kill_filter(_type="normal", skipme=True)
                client.client_unpause()
                return doing.result(30)

        return cut_while

    def test_whoever_only_asks_gets_a_second_go(
        self, own_store: RedisSessionStore, cut: Callable[[Callable[[], Any]], Any]
    ) -> None:
        session = put(own_store)
        assert cut(lambda: own_store.load(session.digest)) == session
        assert cut(lambda: together(own_store.aload(session.digest))) == [session]

    def test_what_must_not_be_done_twice_is_not(
        self, own_store: RedisSessionStore, cut: Callable[[Callable[[], Any]], Any]
    ) -> None:
        session = put(own_store)
        for form in (
            lambda: post(own_store, session.key, "1"),
            lambda: together(apost(own_store, session.key, "1")),
        ):
            with pytest.raises(StoreUnavailable):
                cut(form)
        found = own_store.load(session.digest)
        assert found is not None
        assert found.inbox == 0

    def test_an_append_that_broke_is_tried_again_and_stored_once(self, server: RedisServer) -> None:
        """Its caller does not know whether it was stored; the token does."""
        with Gate(server.url) as gate:
            store = RedisSessionStore(url=gate.url)
            stream = put_stream(store)
            gate.close()
            token = new_token()
            with pytest.raises(StoreUnavailable):
                store.append([Append(stream, messages("a"))], token)
            gate.open()
            assert store.append([Append(stream, messages("a"))], token) == [((stream, 1),)]
            assert texts_of(store, stream) == ["a"]
            store.close()


class TestRefusing:
    @pytest.mark.parametrize("name", ["create", "enlist"])
    def test_out_of_memory(self, server: RedisServer, own_store: RedisSessionStore, name: str) -> None:
        with plain_client(server.url) as client:
            client.config_set("maxmemory", "1")
        for form in forms(own_store, name):
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                form()
        assert own_store.load(SESSION.digest) is None

    def test_nothing_is_written_by_halves(self, server: RedisServer, own_store: RedisSessionStore) -> None:
        session = put(own_store)
        stream = put_stream(own_store, session)
        with plain_client(server.url) as client:
            client.config_set("maxmemory", "1")
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                own_store.append([Append(stream, messages("a")), Send(session.key, "message", "b")])
            client.config_set("maxmemory", "0")
        assert texts_of(own_store, stream) == []
        assert own_store.changes(0) == []

    def test_a_replica_takes_no_writes(self, server: RedisServer, own_store: RedisSessionStore) -> None:
        session = put(own_store)
        with plain_client(server.url) as client:
            client.replicaof("127.0.0.1", "1")
            client.config_set("replica-serve-stale-data", "yes")
        assert own_store.load(session.digest) == session
        with pytest.raises(StoreUnavailable, match="read only replica"):
            post(own_store, session.key, "1")

    def test_a_connection_to_a_demoted_master_is_given_up(self, server: RedisServer, tmp_path: Path) -> None:
        """Its address leads to the new master by then: nobody is refused."""
        (folder := tmp_path / "new").mkdir()
        with own_server(folder) as new, Gate(server.url) as gate:
            store = RedisSessionStore(url=f"{gate.url}?socket_timeout=60")

            async def enlist(*names: str) -> None:
                await asyncio.gather(*(store.aenlist(name) for name in names))

            async def scenario() -> None:
                await enlist(*(f"before {n}" for n in range(20)))
                store.enlist("before")
                with plain_client(server.url) as client:
                    client.replicaof("127.0.0.1", "1")
                gate.lead_to(new.url)
                await enlist(*(f"after {n}" for n in range(20)))
                store.enlist("after")

            asyncio.run(scenario())
            with plain_client(new.url) as client:
                assert client.zcard(f"{store.key_prefix}:workers") == 21
            store.close()

    @pytest.mark.parametrize("size", [LEAST_LIMIT + 1, 30 * LEAST_LIMIT], ids=["a little", "far"])
    def test_what_is_too_long_for_redis_is_refused_alone(self, tmp_path: Path, size: int) -> None:
        """It says so of what is a little too long, and cuts the connection of what is far too long."""
        with own_server(tmp_path, "--proto-max-bulk-len", str(LEAST_LIMIT)) as server:
            store = RedisSessionStore(url=f"{server.url}?socket_timeout=60")
            stream = put_stream(store)
            batch = [Append(stream, messages("a")), Append(stream, messages("x" * size))]
            for append in (store.append, lambda batch: together(store.aappend(batch))):
                with pytest.raises(InvalidSessionData, match="too long"):
                    append(batch)
            assert texts_of(store, stream) == []
            store.close()

    def test_what_is_long_and_not_too_long_may_come_again(self, server: RedisServer) -> None:
        with Gate(server.url) as gate:
            store = RedisSessionStore(url=gate.url)
            stream = put_stream(store)
            gate.close()
            with pytest.raises(StoreUnavailable):
                store.append([Append(stream, messages("x" * 2 * LEAST_LIMIT))])
            store.close()

    @pytest.mark.parametrize(("too_long", "limit"), [(True, LEAST_LIMIT), (False, 4 * LEAST_LIMIT)])
    def test_the_server_is_asked_how_long_it_may_be(self, too_long: bool, limit: int) -> None:
        asking = is_too_long((0, "x", "\u00e9" * LEAST_LIMIT))
        assert next(asking) == ("CONFIG", "GET", "proto-max-bulk-len")
        with pytest.raises(StopIteration) as done:
            asking.send([b"proto-max-bulk-len", str(limit).encode()])
        assert done.value.value is too_long

    def test_a_server_that_does_not_say_has_the_usual_limit(self) -> None:
        asking = is_too_long((0, "x" * 2 * LEAST_LIMIT))
        next(asking)
        with pytest.raises(StopIteration) as done:
            asking.throw(ResponseError("unknown command 'CONFIG'"))
        assert done.value.value is False

    def test_a_password_that_is_wrong(self, tmp_path: Path) -> None:
        with own_server(tmp_path, "--requirepass", "right") as server:
            url = server.url.replace("//", "//:wrong@")
            store = RedisSessionStore(url=url)
            for form in forms(store, "load"):
                with pytest.raises(StoreUnavailable, match="password"):
                    form()
            store.close()

    def test_a_server_that_is_still_loading(self, tmp_path: Path) -> None:
        slowly = ("--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024")
        with own_server(tmp_path) as server, plain_client(server.url) as client:
            client.mset({f"key {n}": os.urandom(2000) for n in range(2000)})
            client.save()
        with own_server(tmp_path, "--appendonly", "no", *slowly, is_ready=False) as server:
            store = RedisSessionStore(url=f"{server.url}?socket_timeout=30")
            for form in forms(store, "load"):
                with pytest.raises(StoreUnavailable, match="loading"):
                    form()
            store.close()

    def test_a_cluster_is_refused(self, tmp_path: Path) -> None:
        # Its second port would be ten thousand above the first, where somebody may be.
        options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        with own_server(tmp_path, *options) as server:
            store = RedisSessionStore(url=server.url)
            for form in forms(store, "load"):
                with pytest.raises(ConfigurationError, match="Cluster"):
                    form()
            store.close()


class TestScripts:
    def test_scripts_are_loaded_again(self, server: RedisServer, own_store: RedisSessionStore) -> None:
        session = put(own_store)
        with plain_client(server.url) as client:
            for name in ARGUMENTS.keys() - {"create", "end", "expire", "purge"}:
                for form in forms(own_store, name):
                    client.script_flush()
                    try:
                        form()
                    except SessionEnded:
                        assert name in {
                            *("lease", "release", "open_stream", "attach", "add_request", "claim", "settle")
                        }
        assert own_store.load(session.digest) == session
        assert own_store.load_by_key(new_key()) is None
