"""Inboxes: what reaches whoever works for a session, in whichever process."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.identifiers import new_key
from mcp_sessions.records import CALL, INBOX_KEPT, Append, EndReason, Event, Inbound, Reading, SessionRecord
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, apost, make_session, post, put, put_read
from mcp_sessions.testing.store_contract.observing import (
    has_ended,
    inbox_of,
    reload,
    stream_of,
    streams_of,
    together,
)


class InboxContract:
    def test_messages_are_read_in_the_order_in_which_they_were_posted(self, store: BaseSessionStore) -> None:
        session, other, quiet = put(store), put(store), put(store)
        for text in ("1", "2", "3"):
            assert post(store, session.key, text) is True
        assert post(store, other.key, '"x"') is True
        assert inbox_of(store, session) == [(1, "1"), (2, "2"), (3, "3")]
        assert inbox_of(store, other) == [(1, '"x"')]
        assert inbox_of(store, quiet) == []
        assert inbox_of(store, session, 2) == [(3, "3")]
        assert inbox_of(store, other, 1) == []
        assert store.read(new_key(), 0, 10) is None

    def test_it_is_read_as_any_stream(self, store: BaseSessionStore) -> None:
        session = put(store)
        for text in ("aaaa", "bbbb", "cccc"):
            post(store, session.key, text)
        assert store.read(session.key, 0, 2) == Reading((Event(1, "", "aaaa"), Event(2, "", "bbbb")))
        assert store.read(session.key, 0, 10, 9) == Reading(
            (Event(1, "", "aaaa"), Event(2, "", "bbbb")), is_cut=True
        )

    def test_its_position_is_read_with_it_even_if_the_last_message_was_deleted(
        self, store: BaseSessionStore
    ) -> None:
        session, quiet = put(store), put(store)
        store.add_request(session.key, "ask", NOW + HOUR, None)
        post(store, session.key, "1")
        store.append([Inbound(session.key, "2", "ask", answers=True)])
        store.drop_request(session.key, "ask")
        for after in (0, 1):
            reading = store.read(session.key, after, 10)
            assert reading is not None and reading.position == 2
            assert [event.position for event in reading.events] == [1][after:]
        unused = store.read(quiet.key, 0, 10)
        assert unused is not None and unused.position == 0

    def test_an_inbox_stands_as_a_stream_does(self, store: BaseSessionStore) -> None:
        session, quiet = put(store), put(store)
        post(store, session.key, "1")
        for key, position in ((session.key, 1), (quiet.key, 0)):
            found = stream_of(store, key)
            assert (found.session_key, found.kind, found.position) == (key, "inbox", position)
            assert (found.ended_at, found.writer, found.reader) == (None, "", "")
        store.end(session.key, NOW, EndReason.OPERATOR)
        store.end(quiet.key, NOW, EndReason.OPERATOR)
        assert [each.ended_at for each in store.find_streams([session.key, quiet.key]).values()] == [NOW, NOW]
        assert store.find_streams([new_key()]) == {}

    def test_no_client_reads_it(self, store: BaseSessionStore) -> None:
        """Whoever knows a session's key could else resume its inbox as a stream."""
        session = put(store)
        put_read(store, session)
        post(store, session.key, "1")
        assert store.attach(session.key, session.key, "worker", 0, None) is None
        taken = store.read(session.key, 0, 10, worker="worker")
        assert taken is not None and taken.is_estranged
        assert store.append([Append(session.key, (("message", "2"),))]) == [()]
        names = [each.name for each in streams_of(store, session.key)]
        assert len(names) == 1 and session.key not in names
        assert [each.name for each in streams_of(store, session.key, only_open=True)] == names
        assert store.statistics(NOW).open_streams == 1

    def test_a_session_knows_where_its_inbox_stands(self, store: BaseSessionStore) -> None:
        session = put(store)
        assert reload(store, session).inbox == 0
        post(store, session.key, "1")
        post(store, session.key, "2")
        assert reload(store, session).inbox == 2
        found = store.load(session.digest)
        assert found is not None
        assert found.inbox == 2

    def test_the_text_of_a_message_is_kept(self, store: BaseSessionStore) -> None:
        session = put(store)
        values = ["ü 😀", "'\"\\ %s %%", "a\x00b \ud800", "x" * 100_000, {"id": 1, "result": None}]
        for value in values:
            post(store, session.key, json.dumps(value))
        post(store, session.key, json.dumps("ü 😀", ensure_ascii=False))
        assert [json.loads(text) for _, text in inbox_of(store, session)] == [*values, "ü 😀"]

    def test_a_session_that_has_ended_gets_nothing(self, store: BaseSessionStore) -> None:
        session = put(store)
        post(store, session.key, "1")
        store.end(session.key, NOW, EndReason.OPERATOR)
        assert post(store, session.key, "2") is False
        assert post(store, new_key(), "2") is False
        assert reload(store, session).inbox == 1

    def test_the_end_of_a_session_comes_after_what_came_before(self, store: BaseSessionStore) -> None:
        session, quiet, lives = put(store), put(store), put(store)
        post(store, session.key, "1")
        store.end(session.key, NOW, EndReason.OPERATOR)
        store.end(quiet.key, NOW, EndReason.DELETED)
        assert store.read(session.key, 0, 10) == Reading((Event(1, "", "1"),), end=1)
        assert store.read(session.key, 1, 10) == Reading((), end=1)
        assert store.read(quiet.key, 0, 10) == Reading((), end=0)
        assert store.read(lives.key, 0, 10) == Reading(())

    def test_the_inbox_of_a_session_that_was_purged_is_not_there(self, store: BaseSessionStore) -> None:
        session = put(store)
        post(store, session.key, "1")
        store.end(session.key, NOW, EndReason.DELETED)
        store.purge(NOW, 10)
        assert store.read(session.key, 0, 10) is None

    def test_very_many_inboxes(self, store: BaseSessionStore) -> None:
        sessions = [put(store) for _ in range(8)]
        for session in sessions:
            post(store, session.key, '"a"')
        gone = [make_session().key for _ in range(650)]
        keys = [session.key for session in sessions]
        found = store.find_streams([*gone, *keys])
        assert sorted(found) == sorted(keys)
        assert all(inbox.position == 1 for inbox in found.values())

    def test_a_reader_gets_what_many_post_once_and_in_order(self, store: BaseSessionStore) -> None:
        session = put(store)
        got: list[tuple[int, str]] = []

        async def post(worker: int) -> None:
            for n in range(10):
                assert await apost(store, session.key, json.dumps([worker, n]))

        async def read() -> None:
            while len(got) < 30:
                reading = await store.aread(session.key, got[-1][0] if got else 0, 100)
                got.extend((event.position, event.data) for event in (reading.events if reading else ()))

        together(read(), *(post(worker) for worker in range(3)))
        assert [position for position, _ in got] == list(range(1, 31))
        posted = [json.loads(text) for _, text in got]
        for worker in range(3):
            assert [n for each, n in posted if each == worker] == list(range(10))

    def test_what_is_posted_while_a_session_ends(self, store: BaseSessionStore) -> None:
        """A message that was answered as posted is there."""
        session = put(store)
        calls = [apost(store, session.key, f"{n}") for n in range(12)]
        calls.insert(4, store.aend(session.key, NOW, EndReason.DELETED))
        posted = together(*calls)
        assert posted.pop(4) is True
        assert has_ended(store, session.key)
        assert sorted(texts_in(store, session)) == sorted(f"{n}" for n, is_in in enumerate(posted) if is_in)


class PendingRequestContract:
    def test_an_answer_to_a_request_is_kept_while_a_tool_waits(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        assert post(store, session.key, "0", "a") is False
        assert store.add_request(session.key, "a", timezone.now() + HOUR, None) is True
        assert post(store, session.key, "1", "b") is False
        assert post(store, other.key, "1", "a") is False
        assert post(store, session.key, "2", "a", answers=True) is True
        assert post(store, session.key, "3", "a", answers=True) is False
        assert post(store, session.key, "4", "a") is False
        assert (inbox_of(store, session), inbox_of(store, other)) == ([(1, "2")], [])
        store.drop_request(session.key, "a")
        assert texts_in(store, session) == []
        assert reload(store, session).inbox == 1

    def test_only_the_last_that_was_said_is_kept(self, store: BaseSessionStore) -> None:
        session = put(store)
        for name in ("a", "b"):
            store.add_request(session.key, name, timezone.now() + HOUR, None)
        post(store, session.key, "0")
        for number in range(1, 5):
            post(store, session.key, f"{number}", "ab"[number % 2])
        assert texts_in(store, session) == ["0", "3", "4"]
        post(store, session.key, "5", "a", answers=True)
        assert texts_in(store, session) == ["0", "3", "5"]
        store.drop_request(session.key, "b")
        store.drop_request(session.key, "nobody")
        assert texts_in(store, session) == ["0", "5"]
        assert post(store, session.key, "6", "b") is False

    def test_so_many_are_waited_for(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        until = timezone.now() + HOUR
        store.add_request(session.key, "over", timezone.now() - HOUR, 3)
        asked = together(*(store.aadd_request(session.key, f"{n}", until, 3) for n in range(8)))
        assert sorted(asked) == [False] * 5 + [True] * 3
        first, refused = str(asked.index(True)), str(asked.index(False))
        assert post(store, session.key, "x", refused) is False
        assert store.add_request(session.key, first, until, 3) is True
        assert store.add_request(other.key, "a", until, 3) is True
        assert store.add_request(session.key, refused, until, 3) is False
        store.drop_request(session.key, first)
        assert store.add_request(session.key, refused, until, 3) is True
        assert store.add_request(session.key, "more", until, None) is True

    def test_calls_that_may_be_cancelled_are_no_requests(self, store: BaseSessionStore) -> None:
        session, until = put(store), timezone.now() + HOUR
        for number in range(3):
            assert store.add_request(session.key, f"{CALL}{number}", until, None) is True
        assert store.add_request(session.key, "a", until, 1) is True
        assert store.add_request(session.key, "b", until, 1) is False
        assert post(store, session.key, "1", f"{CALL}0") is True

    def test_an_ended_session_has_no_pending_requests(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.add_request(session.key, "a", timezone.now() + HOUR, None)
        store.end(session.key, NOW, EndReason.DELETED)
        for key in (session.key, new_key()):
            with pytest.raises(SessionEnded):
                store.add_request(key, "b", timezone.now() + HOUR, None)
            assert post(store, key, "x", "a", answers=True) is False
            store.drop_request(key, "a")
        assert store.purge(NOW, 10) == 1

    def test_a_request_that_nobody_waits_for_is_deleted(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.add_request(session.key, "old", timezone.now() - HOUR, None)
        store.add_request(session.key, "new", timezone.now() + HOUR, None)
        store.delete_unreachable(NOW, 10)
        # Redis forgets it when the next is asked.
        store.add_request(session.key, "newer", timezone.now() + HOUR, 10)
        assert post(store, session.key, "x", "old") is False
        assert post(store, session.key, "x", "new") is True

    def test_of_one_batch_too_the_last_message_for_a_request_is_kept(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.add_request(session.key, "a", timezone.now() + HOUR, None)
        batch = [Inbound(session.key, text, request) for text, request in (("1", "a"), ("2", ""), ("3", "a"))]
        answers = [Inbound(session.key, text, "a", answers=True) for text in ("4", "5")]
        places = [((session.key, position),) for position in range(1, 5)]
        assert store.append([*batch, *answers]) == [*places, ()]
        assert inbox_of(store, session) == [(2, "2"), (4, "4")]
        assert reload(store, session).inbox == 4

    def test_a_late_reader_learns_what_was_trimmed(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.append([Inbound(session.key, f"{number}") for number in range(INBOX_KEPT + 60)])
        reading = store.read(session.key, 10, INBOX_KEPT)
        assert reading is not None and reading.trimmed >= 10

    def test_an_inbox_keeps_so_many(self, store: BaseSessionStore) -> None:
        session = put(store)
        for number in range(INBOX_KEPT + 60):
            post(store, session.key, f"{number}")
        texts = texts_in(store, session)
        assert INBOX_KEPT <= len(texts) <= INBOX_KEPT + 50
        assert texts[-1] == f"{INBOX_KEPT + 59}"


def texts_in(store: BaseSessionStore, session: SessionRecord) -> list[str]:
    """What is in the inbox of a session."""
    return [text for _, text in inbox_of(store, session)]
