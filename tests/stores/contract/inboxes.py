"""Inboxes: what reaches whoever works for a session, in whichever process."""

from __future__ import annotations

import json

import pytest
from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.identifiers import new_key
from mcp_sessions.records import CALL, INBOX_KEPT, EndReason, Mail, SessionRecord
from mcp_sessions.stores.base import BaseSessionStore
from tests.stores.contract.builders import HOUR, NOW, make_session, put
from tests.stores.contract.observing import reload, together


class InboxContract:
    def test_messages_are_read_in_the_order_in_which_they_were_posted(self, store: BaseSessionStore) -> None:
        session, other, quiet = put(store), put(store), put(store)
        for text in ("1", "2", "3"):
            assert store.post(session.key, text) is True
        assert store.post(other.key, '"x"') is True
        assert store.read_inboxes({session.key: 0, other.key: 0, quiet.key: 0}) == {
            session.key: Mail(((1, "1"), (2, "2"), (3, "3"))),
            other.key: Mail(((1, '"x"'),)),
        }
        assert store.read_inboxes({session.key: 2, other.key: 1}) == {session.key: Mail(((3, "3"),))}
        assert store.read_inboxes({}) == {}

    def test_a_session_knows_where_its_inbox_stands(self, store: BaseSessionStore) -> None:
        session = put(store)
        assert reload(store, session).inbox == 0
        store.post(session.key, "1")
        store.post(session.key, "2")
        assert reload(store, session).inbox == 2
        found = store.load(session.digest)
        assert found is not None
        assert found.inbox == 2

    def test_the_text_of_a_message_is_kept(self, store: BaseSessionStore) -> None:
        session = put(store)
        values = ["ü 😀", "'\"\\ %s %%", "a\x00b \ud800", "x" * 100_000, {"id": 1, "result": None}]
        for value in values:
            store.post(session.key, json.dumps(value))
        store.post(session.key, json.dumps("ü 😀", ensure_ascii=False))
        mail = store.read_inboxes({session.key: 0})[session.key]
        assert [json.loads(text) for _, text in mail.messages] == [*values, "ü 😀"]

    def test_a_session_that_has_ended_gets_nothing(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.post(session.key, "1")
        store.end(session.key, NOW, EndReason.OPERATOR)
        assert store.post(session.key, "2") is False
        assert store.post(new_key(), "2") is False
        assert reload(store, session).inbox == 1

    def test_the_end_of_a_session_is_told_with_what_came_before(self, store: BaseSessionStore) -> None:
        session, quiet, lives = put(store), put(store), put(store)
        store.post(session.key, "1")
        store.end(session.key, NOW, EndReason.OPERATOR)
        store.end(quiet.key, NOW, EndReason.DELETED)
        assert store.read_inboxes({session.key: 0, quiet.key: 0, lives.key: 0}) == {
            session.key: Mail(((1, "1"),), EndReason.OPERATOR),
            quiet.key: Mail((), EndReason.DELETED),
        }
        assert store.read_inboxes({session.key: 1}) == {session.key: Mail((), EndReason.OPERATOR)}

    def test_a_session_that_was_purged_has_expired(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.post(session.key, "1")
        store.end(session.key, NOW, EndReason.DELETED)
        store.purge(NOW, 10)
        assert store.read_inboxes({session.key: 0}) == {session.key: Mail((), EndReason.EXPIRED)}

    def test_very_many_inboxes(self, store: BaseSessionStore) -> None:
        sessions = [put(store) for _ in range(8)]
        for session in sessions:
            store.post(session.key, '"a"')
        gone = [make_session().key for _ in range(650)]
        mail = store.read_inboxes(dict.fromkeys([*gone, *(session.key for session in sessions)], 0))
        assert all(mail[key].end_reason == EndReason.EXPIRED for key in gone)
        assert [mail[session.key] for session in sessions] == [Mail(((1, '"a"'),))] * 8

    def test_a_reader_gets_what_many_post_once_and_in_order(self, store: BaseSessionStore) -> None:
        session = put(store)
        got: list[tuple[int, str]] = []

        async def post(worker: int) -> None:
            for n in range(10):
                assert await store.apost(session.key, json.dumps([worker, n]))

        async def read() -> None:
            while len(got) < 30:
                mail = await store.aread_inboxes({session.key: got[-1][0] if got else 0})
                got.extend(mail[session.key].messages if mail else ())

        together(read(), *(post(worker) for worker in range(3)))
        assert [position for position, _ in got] == list(range(1, 31))
        posted = [json.loads(text) for _, text in got]
        for worker in range(3):
            assert [n for each, n in posted if each == worker] == list(range(10))

    def test_what_is_posted_while_a_session_ends(self, store: BaseSessionStore) -> None:
        """Whoever was told that it was posted finds it there."""
        session = put(store)
        verbs = [store.apost(session.key, f"{n}") for n in range(12)]
        verbs.insert(4, store.aend(session.key, NOW, EndReason.DELETED))
        posted = together(*verbs)
        assert posted.pop(4) is True
        mail = store.read_inboxes({session.key: 0})[session.key]
        assert mail.end_reason == EndReason.DELETED
        assert sorted(text for _, text in mail.messages) == sorted(
            f"{n}" for n, is_in in enumerate(posted) if is_in
        )


class QuestionContract:
    def test_what_is_said_to_a_question_is_kept_while_somebody_waits(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        assert store.post(session.key, "0", "a") is False
        assert store.ask(session.key, "a", timezone.now() + HOUR, None) is True
        assert store.post(session.key, "1", "b") is False
        assert store.post(other.key, "1", "a") is False
        assert store.post(session.key, "2", "a", answers=True) is True
        assert store.post(session.key, "3", "a", answers=True) is False
        assert store.post(session.key, "4", "a") is False
        assert store.read_inboxes({session.key: 0, other.key: 0}) == {session.key: Mail(((1, "2"),))}
        store.unask(session.key, "a")
        assert texts_in(store, session) == []
        assert reload(store, session).inbox == 1

    def test_only_the_last_that_was_said_is_kept(self, store: BaseSessionStore) -> None:
        session = put(store)
        for name in ("a", "b"):
            store.ask(session.key, name, timezone.now() + HOUR, None)
        store.post(session.key, "0")
        for number in range(1, 5):
            store.post(session.key, f"{number}", "ab"[number % 2])
        assert texts_in(store, session) == ["0", "3", "4"]
        store.post(session.key, "5", "a", answers=True)
        assert texts_in(store, session) == ["0", "3", "5"]
        store.unask(session.key, "b")
        store.unask(session.key, "nobody")
        assert texts_in(store, session) == ["0", "5"]
        assert store.post(session.key, "6", "b") is False

    def test_so_many_are_waited_for(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        until = timezone.now() + HOUR
        store.ask(session.key, "over", timezone.now() - HOUR, 3)
        asked = together(*(store.aask(session.key, f"{n}", until, 3) for n in range(8)))
        assert sorted(asked) == [False] * 5 + [True] * 3
        first, refused = str(asked.index(True)), str(asked.index(False))
        assert store.post(session.key, "x", refused) is False
        assert store.ask(session.key, first, until, 3) is True
        assert store.ask(other.key, "a", until, 3) is True
        assert store.ask(session.key, refused, until, 3) is False
        store.unask(session.key, first)
        assert store.ask(session.key, refused, until, 3) is True
        assert store.ask(session.key, "more", until, None) is True

    def test_calls_that_may_be_cancelled_are_no_questions(self, store: BaseSessionStore) -> None:
        session, until = put(store), timezone.now() + HOUR
        for number in range(3):
            assert store.ask(session.key, f"{CALL}{number}", until, None) is True
        assert store.ask(session.key, "a", until, 1) is True
        assert store.ask(session.key, "b", until, 1) is False
        assert store.post(session.key, "1", f"{CALL}0") is True

    def test_of_an_ended_session_nothing_is_asked(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.ask(session.key, "a", timezone.now() + HOUR, None)
        store.end(session.key, NOW, EndReason.DELETED)
        for key in (session.key, new_key()):
            with pytest.raises(SessionEnded):
                store.ask(key, "b", timezone.now() + HOUR, None)
            assert store.post(key, "x", "a", answers=True) is False
            store.unask(key, "a")
        assert store.purge(NOW, 10) == 1

    def test_a_question_that_nobody_waited_for_is_swept(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.ask(session.key, "old", timezone.now() - HOUR, None)
        store.ask(session.key, "new", timezone.now() + HOUR, None)
        store.sweep(NOW, 10)
        # Redis forgets it when the next is asked.
        store.ask(session.key, "newer", timezone.now() + HOUR, 10)
        assert store.post(session.key, "x", "old") is False
        assert store.post(session.key, "x", "new") is True

    def test_an_inbox_keeps_so_many(self, store: BaseSessionStore) -> None:
        session = put(store)
        for number in range(INBOX_KEPT + 60):
            store.post(session.key, f"{number}")
        texts = texts_in(store, session)
        assert INBOX_KEPT <= len(texts) <= INBOX_KEPT + 50
        assert texts[-1] == f"{INBOX_KEPT + 59}"


def texts_in(store: BaseSessionStore, session: SessionRecord) -> list[str]:
    """What is in the inbox of a session."""
    mail = store.read_inboxes({session.key: 0})
    return [text for _, text in mail[session.key].messages] if mail else []
