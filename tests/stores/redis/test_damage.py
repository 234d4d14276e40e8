"""What somebody has damaged reads as absent, with a log line, and stays as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis

from mcp_sessions.exceptions import DuplicateIdentifier, SessionEnded
from mcp_sessions.records import Append, Send, SessionRecord, Touch
from mcp_sessions.stores.redis import RedisSessionStore
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    make_session,
    messages,
    post,
    put,
    put_stream,
)
from mcp_sessions.testing.store_contract.observing import reload, together

Damage = Callable[[redis.Redis, str], Any]

DATA: dict[str, Damage] = {
    "data that is no JSON": lambda client, key: client.hset(key, "data", "{"),
    "data that is no dict": lambda client, key: client.hset(key, "data", "[1]"),
    "data that is no text": lambda client, key: client.hset(key, "data", b"\xff\x00"),
    "data that is gone": lambda client, key: client.hdel(key, "data"),
}
METADATA: dict[str, Damage] = {
    "metadata that is no JSON": lambda client, key: client.hset(key, "m:client", "{"),
    "metadata that is two": lambda client, key: client.hset(key, "m:client", "1,2"),
    "metadata that is nothing": lambda client, key: client.hset(key, "m:client", ""),
}
SESSION: dict[str, Damage] = {
    "an instant that is none": lambda client, key: client.hset(key, "expires_at", "soon"),
    "an instant beyond all time": lambda client, key: client.hset(key, "created_at", "9" * 30),
    "a count that is none": lambda client, key: client.hset(key, "requests", "many"),
    "an inbox that is gone": lambda client, key: client.hdel(key, "inbox"),
    "a server that is gone": lambda client, key: client.hdel(key, "server"),
    "no hash at all": lambda client, key: (client.delete(key), client.set(key, "a")),
}


def damaged(store: RedisSessionStore, client: redis.Redis, damage: Damage) -> tuple[SessionRecord, Any]:
    """A session whose hash somebody has damaged, and what is in it now."""
    session = put(store, metadata={"client": {"name": "a"}}, data={"count": 1})
    key = f"{store.key_prefix}:session:{session.key}"
    damage(client, key)
    return session, client.dump(key)


def dump(store: RedisSessionStore, client: redis.Redis, session: SessionRecord) -> Any:
    return client.dump(f"{store.key_prefix}:session:{session.key}")


class TestSessions:
    @pytest.mark.parametrize("damage", [*DATA, *METADATA, *SESSION])
    def test_it_is_not_there_and_the_log_says_why(
        self, store: RedisSessionStore, client: redis.Redis, damage: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        session, before = damaged(store, client, {**DATA, **METADATA, **SESSION}[damage])
        with caplog.at_level(logging.ERROR, "mcp_sessions.stores"):
            assert store.load(session.digest) is None
            assert together(store.aload_by_key(session.key)) == [None]
        assert len([line for line in caplog.messages if "cannot be read" in line]) == 2
        assert list(store.live_sessions(session.server, NOW, "", 10)) == []
        assert dump(store, client, session) == before

    @pytest.mark.parametrize("damage", [*DATA, *SESSION])
    def test_it_is_not_edited(self, store: RedisSessionStore, client: redis.Redis, damage: str) -> None:
        session, before = damaged(store, client, {**DATA, **SESSION}[damage])
        for token in ("mine", "yours"):
            if damage == "an instant beyond all time":
                break  # its data can be read
            with pytest.raises(SessionEnded):
                store.lease(session.key, token, NOW, NOW + HOUR)
        assert dump(store, client, session) == before

    @pytest.mark.parametrize("damage", SESSION)
    def test_no_verb_trips_over_it(self, store: RedisSessionStore, client: redis.Redis, damage: str) -> None:
        other = put(store)
        session, _ = damaged(store, client, SESSION[damage])
        with pytest.raises(DuplicateIdentifier):
            store.create(make_session(digest=session.digest))
        touch = Touch(session.key, NOW, NOW, NOW, requests=1)
        store.touch([touch, Touch(other.key, NOW, NOW, NOW, requests=1)])
        assert reload(store, other).requests == 1
        store.save_metadata(session.key, {"a": 1})
        store.warn(session.key, NOW)
        post(store, session.key, "1")
        store.append([Send(session.key, "message", "a"), Send(other.key, "message", "a")])
        store.read(session.key, 0, 10)
        store.subscribers("file:///a", NOW)
        store.statistics(NOW)
        assert [each.key for each in store.expire(NOW + HOUR, 10)] == [other.key]
        store.end(session.key, NOW, "deleted")
        store.purge(NOW + HOUR, 10)
        assert store.load(session.digest) is None


class TestStreams:
    @pytest.mark.parametrize("field", ["position", "request_ids", "ended_at"])
    def test_it_is_not_there(
        self, store: RedisSessionStore, client: redis.Redis, field: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        session = put(store)
        bad, good = put_stream(store, session), put_stream(store, session)
        client.hset(f"{store.key_prefix}:stream:{bad}", field, "[")
        assert store.find_streams([bad, good]).keys() == {good}
        assert store.attach(session.key, bad, "reader", 0, None) is None
        assert store.append([Append(good, messages("a"))]) == [((good, 1),)]
        assert ("cannot be read" in caplog.text) is (field != "position")
