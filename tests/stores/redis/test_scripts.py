"""The Lua scripts: all are installed and used, and what is large is done in parts."""

from __future__ import annotations

import configparser
from pathlib import Path

import redis

import mcp_sessions
from mcp_sessions.stores.redis import RedisSessionStore, scripts
from mcp_sessions.testing.store_contract.builders import NOW, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import written_by
from tests.stores.redis.servers import plain_client

PACKAGE = Path(mcp_sessions.__file__).parent
LUA = PACKAGE / "stores" / "redis" / "lua"
SCRIPTS = sorted(name for kind, name in scripts.sections() if kind == "script")


def test_every_file_is_installed() -> None:
    setup = configparser.ConfigParser()
    setup.read(PACKAGE.parent / "setup.cfg")
    patterns = setup["options.package_data"]["mcp_sessions"].split()
    installed = {path for pattern in patterns for path in PACKAGE.glob(pattern)}
    assert set(LUA.rglob("*")) <= installed


def test_every_section_is_used() -> None:
    modules = "".join(path.read_text(encoding="utf-8") for path in LUA.parent.glob("*.py"))
    assert [name for name in SCRIPTS if f'"{name}"' not in modules] == []
    parts = {name for kind, name in scripts.sections() if kind == "part"}
    assert {used for section in scripts.sections().values() for used in section.uses} == parts


def test_no_section_hides_another() -> None:
    lines = [line for path in LUA.glob("*.lua") for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(line.startswith("--- ") for line in lines) == len(scripts.sections())


def test_a_part_that_several_use_is_there_once() -> None:
    source = scripts.script("attach").source
    assert source.count("local function stream_of(") == source.count("local PREFIX =") == 1
    assert scripts.script("attach") is scripts.script("attach")


def test_redis_knows_a_script_by_its_digest() -> None:
    with plain_client() as client:
        for name in SCRIPTS:
            assert client.script_load(scripts.script(name).source) == scripts.script(name).sha


def test_very_many_subscribers(store: RedisSessionStore) -> None:
    sessions = [put(store) for _ in range(1100)]
    for session in sessions:
        store.subscribe(session.key, "file:///a")
    found = store.subscribers("file:///a", NOW)
    assert sorted(each.key for each in found) == sorted(session.key for session in sessions)


def test_a_lost_worker_that_read_very_many_streams(store: RedisSessionStore, client: redis.Redis) -> None:
    sessions = [put(store) for _ in range(130)]
    names = [put_read(store, session, "lost") for session in sessions for _ in range(5)]
    kept = put_stream(store, sessions[0], "post", "writer")
    store.enlist("lost")
    inheritance = store.take_over("lost", "heir", 10)
    assert sorted(stream.name for stream in inheritance.left) == sorted(names)
    assert {stream.reader for stream in store.find_streams(names).values()} == {""}
    assert client.exists(f"{store.key_prefix}:reader:lost") == 0
    assert [stream.name for stream in written_by(store, "writer")] == [kept]
