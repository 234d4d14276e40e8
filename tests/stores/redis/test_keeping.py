"""One time to live follows the session: what nobody purges goes by itself, and leaves nothing behind."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from mcp_sessions.identifiers import new_key, new_stream_name
from mcp_sessions.records import Append, EndReason, Inbound, SessionRecord, Touch
from mcp_sessions.stores.redis import RedisSessionStore
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    make_session,
    messages,
    post,
    put,
    put_read,
    put_stream,
)
from tests.stores.redis.servers import delete_all, keys_of

DAY = timedelta(days=1)
SLACK = timedelta(minutes=1)
BOUNDED = {"counters", "changes"}
"""What stays when all sessions are gone: the last numbers given out, and the changes of the last minute."""


def put_full(store: RedisSessionStore, life: timedelta = HOUR) -> SessionRecord:
    """A session that has everything a session can have."""
    now = timezone.now()
    end = now + life
    session = put(store, created_at=now, last_accessed_at=now, expires_at=end, timeout_at=end)
    name, call = put_read(store, session), put_stream(store, session, "call", "worker")
    store.append([Append(name, messages("a")), Append(call, messages("b"))])
    post(store, session.key, "1")
    store.add_request(session.key, "a", end, None)
    store.subscribe(session.key, "file:///a")
    return session


def lives(store: RedisSessionStore, client: redis.Redis) -> dict[str, timedelta | None]:
    """How long each key lives; None is for ever."""
    left = {key: client.pttl(f"{store.key_prefix}:{key}") for key in keys_of(store, client)}
    return {key: None if ms < 0 else timedelta(milliseconds=ms) for key, ms in left.items()}


def own(found: dict[str, timedelta | None]) -> dict[str, timedelta | None]:
    """Of these, the keys of sessions, not those by which sessions are found."""
    kinds = (
        "session:",
        "id:",
        "streams:",
        "open:",
        "stream:",
        "events:",
        "subscriptions:",
        "subscribers:",
        "pending:",
    )
    return {key: life for key, life in found.items() if key.startswith(kinds)}


def let_go(store: RedisSessionStore, client: redis.Redis) -> None:
    """What Redis does when the time to live has run out."""
    client.delete(*(f"{store.key_prefix}:{key}" for key in own(lives(store, client))))


class TestLife:
    def test_every_key_of_a_session_goes_a_day_after_its_end(
        self, store: RedisSessionStore, client: redis.Redis
    ) -> None:
        put_full(store)
        found = own(lives(store, client))
        assert len(found) == 13
        assert all(life is not None and HOUR + DAY - SLACK < life <= HOUR + DAY for life in found.values())

    def test_it_does_not_move_with_each_append(self, store: RedisSessionStore, client: redis.Redis) -> None:
        session = put_full(store)
        keys = [f"{store.key_prefix}:{key}" for key in own(lives(store, client))]
        before = [client.pexpiretime(key) for key in keys]
        for stream in store.find_streams([key.rpartition(":")[2] for key in keys]):
            store.append([Append(stream, messages("more"))])
        post(store, session.key, "2")
        assert [client.pexpiretime(key) for key in keys] == before

    def test_it_moves_with_the_end_of_the_session(
        self, store: RedisSessionStore, client: redis.Redis
    ) -> None:
        session = put_full(store)
        later = session.expires_at + 10 * DAY
        store.touch([Touch(session.key, session.created_at, later, later)])
        put_stream(store, session)
        found = own(lives(store, client))
        assert all(life is not None and life > 10 * DAY + HOUR for life in found.values())

    def test_a_small_extension_moves_nothing(self, store: RedisSessionStore, client: redis.Redis) -> None:
        """Otherwise each use of a session would touch all its keys."""
        session = put_full(store)
        key = f"{store.key_prefix}:session:{session.key}"
        before = client.pexpiretime(key)
        later = session.expires_at + HOUR
        store.touch([Touch(session.key, session.created_at, later, later)])
        assert client.pexpiretime(key) == before
        assert store.load(session.digest) is not None

    def test_what_ran_out_long_ago_is_still_there_to_be_expired(
        self, store: RedisSessionStore, client: redis.Redis
    ) -> None:
        session = put(store, expires_at=NOW - 1000 * DAY)
        assert client.pttl(f"{store.key_prefix}:session:{session.key}") > 0
        assert [each.key for each in store.expire(NOW, 10)] == [session.key]

    def test_what_several_have_in_common_goes_with_the_last(
        self, store: RedisSessionStore, client: redis.Redis
    ) -> None:
        long, short = put(store, expires_at=timezone.now() + 9 * DAY), put(store)
        for session in (long, short):
            store.subscribe(session.key, "file:///a")
        [life] = [life for key, life in lives(store, client).items() if key.startswith("subscribers:")]
        assert life is not None
        assert life > 9 * DAY


class TestLeftovers:
    def test_nothing_is_left_when_all_are_purged(self, store: RedisSessionStore, client: redis.Redis) -> None:
        for _ in range(3):
            session = put_full(store)
            store.enlist("reader")
            store.append([Append(put_stream(store, session, "post", "worker"), messages("a"), ends=True)])
            store.end(session.key, NOW, EndReason.DELETED)
        put(store, ended_at=NOW, end_reason=EndReason.DELETED)
        put(store, expires_at=NOW)
        store.expire(NOW, 10)
        assert store.purge(NOW, 10) == 5
        store.leave("reader")
        assert set(keys_of(store, client)) <= BOUNDED

    @pytest.mark.parametrize("who", ["opens", "expires"])
    def test_what_refers_to_what_redis_let_go_is_cleared(
        self, store: RedisSessionStore, client: redis.Redis, who: str
    ) -> None:
        """By whoever comes upon it: nobody needs to purge."""
        session = put_full(store, -HOUR)
        let_go(store, client)
        assert store.load(session.digest) is store.load_by_key(session.key) is None
        assert list(store.live_sessions(session.server, NOW, "", 10)) == []
        assert list(store.subscribers("file:///a", NOW)) == []
        if who == "opens":
            store.end(put(store).key, NOW, EndReason.DELETED)
        else:
            assert list(store.expire(timezone.now() + 9 * DAY, 10)) == []
        store.purge(NOW, 10)
        for worker in ("reader", "worker"):
            store.enlist(worker)
            store.take_over(worker, "heir", 10)
        store.delete_unreachable(timezone.now() + HOUR, 10)
        assert set(keys_of(store, client)) <= BOUNDED

    def test_old_changes_go(self, store: RedisSessionStore, client: redis.Redis) -> None:
        stream = put_stream(store)
        store.append([Append(stream, messages("a"))])
        key = f"{store.key_prefix}:changes"
        [(entry, fields)] = client.xrange(key)
        client.xdel(key, entry)
        fields[b"at"] = int(fields[b"at"]) - 61_000_000
        client.xadd(key, fields, id=f"{int(entry.partition(b'-')[0]) + 1}-0")
        store.delete_unreachable(NOW, 10)
        assert store.changes(0) == []
        assert client.hget(f"{store.key_prefix}:counters", "changes") is not None

    def test_requests_that_nobody_waits_for_go(self, store: RedisSessionStore, client: redis.Redis) -> None:
        """Whether or not they were answered: the worker that waited may have died."""
        session, pending = put(store), f"{store.key_prefix}:pending"
        for name in ("overdue", "answered"):
            store.add_request(session.key, name, NOW - HOUR, None)
        store.append([Inbound(session.key, "answer", "answered", answers=True)])
        store.add_request(session.key, "waited for", timezone.now() + HOUR, None)
        store.delete_unreachable(NOW - DAY, 10)
        assert client.hkeys(f"{pending}:{session.key}") == [b"w:waited for"]
        assert client.zcard(pending) == 1

    def test_numbers_of_changes_go_on_when_redis_has_lost_all(
        self, store: RedisSessionStore, client: redis.Redis
    ) -> None:
        """A process that reads behind the last of them would learn of nothing for as long as it took."""
        store.append([Append(put_stream(store), messages("a"))])
        [(last, _)] = store.changes(0)
        delete_all(store, client)
        stream = put_stream(store)
        store.append([Append(stream, messages("a"))])
        assert [names for _, names in store.changes(last)] == [[stream]]

    def test_a_name_that_is_gone_is_free_again(self, store: RedisSessionStore, client: redis.Redis) -> None:
        session = put_full(store)
        let_go(store, client)
        again = make_session(key=session.key, digest=session.digest)
        store.create(again)
        assert store.load(session.digest) == again
        assert store.open_stream(again.key, new_stream_name(), "get").session_key == again.key
        assert store.load_by_key(new_key()) is None
