"""Notifications: which streams and sessions have changed."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from mcp_sessions.identifiers import new_key, new_stream_name
from mcp_sessions.records import Append, EndReason, Send, Touch
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import (
    HOUR,
    NOW,
    apost,
    messages,
    post,
    put,
    put_read,
    put_stream,
)
from mcp_sessions.testing.store_contract.observing import together


class Listener:
    """Remembers what it has heard."""

    def __init__(self, store: BaseSessionStore) -> None:
        self._store = store
        self.last = max((number for number, _ in store.changes(0)), default=0)

    def notifications(self) -> list[set[str]]:
        """The names of each notification since the last time."""
        changes = self._store.changes(self.last)
        numbers = [number for number, _ in changes]
        assert numbers == sorted(set(numbers))
        assert all(number > self.last for number in numbers)
        self.last = max([self.last, *numbers])
        return [set(names) for _, names in changes]


class NotificationContract:
    def test_an_append_notifies_of_its_stream(self, store: BaseSessionStore) -> None:
        first, second = put_stream(store), put_stream(store)
        listener = Listener(store)
        assert listener.notifications() == []
        store.append([Append(first, messages("a"))])
        store.append([Append(second, messages("a")), Append(first, messages("b"))])
        assert listener.notifications() == [{first}, {first, second}]
        assert listener.notifications() == []

    def test_the_end_of_a_stream_notifies_of_it(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, call = put_stream(store, session), put_stream(store, session, "call", "w")
        listener = Listener(store)
        store.append([Append(name, (), ends=True)])
        store.append([Append(call, (), ends=True, writer="w")])
        assert listener.notifications() == [{name}, {call}]

    def test_an_event_for_a_session_notifies_of_the_streams_that_got_it(
        self, store: BaseSessionStore
    ) -> None:
        session = put(store)
        older, newer = put_read(store, session), put_read(store, session)
        call = put_stream(store, session, "call", "w")
        listener = Listener(store)
        store.append([Send(session.key, "message", "a")])
        store.append([Send(session.key, "message", "b", everywhere=True)])
        store.append([Send(session.key, "message", "c", call=Append(call, (), ends=True, writer="w"))])
        assert listener.notifications() == [{newer}, {older, newer}, {call, newer}]

    def test_a_message_and_an_end_notify_of_the_session(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        put_stream(store, session)
        listener = Listener(store)
        post(store, session.key, "1")
        post(store, other.key, "1")
        assert listener.notifications() == [{session.key}, {other.key}]
        store.end(session.key, NOW, EndReason.DELETED)
        assert [session.key in names for names in listener.notifications()] == [True]

    def test_where_nothing_is_added_nothing_is_notified(self, store: BaseSessionStore) -> None:
        session, ended = put(store), put(store)
        name, running = put_read(store, session), put_stream(store, session, "post", "mine")
        store.end(ended.key, NOW, EndReason.DELETED)
        listener = Listener(store)
        store.append([])
        store.append(
            [Append(running, messages("a"), writer="yours"), Append(new_stream_name(), messages("a"))]
        )
        store.append([Send(ended.key, "message", "a"), Send(put(store).key, "message", "a", only_now=True)])
        post(store, ended.key, "1")
        post(store, new_key(), "1")
        store.end(ended.key, NOW, EndReason.DELETED)
        store.open_stream(session.key, new_stream_name(), "get")
        store.mark_delivered("reader", {name: 0})
        store.touch([Touch(session.key, NOW, NOW, NOW, requests=1)])
        store.save_metadata(session.key, {"a": 1})
        assert listener.notifications() == []

    def test_names_that_others_have_agreed_on_are_passed_on(self, store: BaseSessionStore) -> None:
        listener = Listener(store)
        store.notify(["@%2Fmcp@tools@1"])
        store.notify(["@a@b@2", "@a@c@3"])
        assert listener.notifications() == [{"@%2Fmcp@tools@1"}, {"@a@b@2", "@a@c@3"}]

    def test_everything_that_is_added_at_once_is_heard(self, store: BaseSessionStore) -> None:
        sessions = [put(store) for _ in range(4)]
        names = [put_stream(store, session) for session in sessions]
        listener = Listener(store)
        appends = [store.aappend([Append(name, messages("a"))]) for name in names]
        together(*appends, *(apost(store, session.key, "1") for session in sessions))
        heard = listener.notifications()
        assert len(heard) == 8
        assert set().union(*heard) == {*names, *(session.key for session in sessions)}

    def test_the_first_change_since_an_instant(self, store: BaseSessionStore) -> None:
        name = put_stream(store)
        for _ in range(3):
            store.append([Append(name, messages("old"))])
        instant = timezone.now()
        [last_old, *_] = [number for number, _ in store.changes(0)][::-1]
        assert store.last_change(instant) == last_old
        store.append([Append(name, messages("new"))])
        assert store.last_change(instant) == last_old
        assert len(store.changes(store.last_change(instant))) == 1
        assert len(store.changes(store.last_change(instant - HOUR))) == 4
        assert store.changes(store.last_change(instant + HOUR)) == []

    def test_without_earlier_changes_all_are_new(self, store: BaseSessionStore) -> None:
        since = store.last_change(timezone.now() - timedelta(seconds=5))
        name = put_stream(store)
        store.append([Append(name, messages("a"))])
        assert [list(names) for _, names in store.changes(since)] == [[name]]
