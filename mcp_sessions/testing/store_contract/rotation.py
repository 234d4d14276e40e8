"""Rotation: a session has another id, and the one before opens it for a while."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.identifiers import digest_of, new_session_id
from mcp_sessions.records import EndReason, Limits, Rotation, SessionRecord, principal_of
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, make_session, put
from mcp_sessions.testing.store_contract.observing import inbox_of, reload, together

ANN = principal_of("/mcp", "ann", "")


def rotation(**changes: Any) -> Rotation:
    values = {"digest": digest_of(new_session_id()), "sealed_id": "sealed", "until": timezone.now() + HOUR}
    return Rotation(**{**values, **changes})


class RotationContract:
    def test_both_ids_find_the_session(self, store: BaseSessionStore) -> None:
        session, new = put(store, data={"basket": ["tea"]}), rotation()
        assert store.rotate(session.key, session.digest, new)
        expected = replace(
            session,
            digest=new.digest,
            previous_digest=session.digest,
            previous_until=new.until,
            sealed_id="sealed",
            inbox=1,
        )
        assert store.load(new.digest) == store.load(session.digest) == expected
        assert store.load_by_key(session.key) == expected

    def test_whose_streams_are_open_hears_of_it(self, store: BaseSessionStore) -> None:
        session = put(store)
        before = max((number for number, _ in store.changes(0)), default=0)
        assert store.rotate(session.key, session.digest, rotation())
        messages = inbox_of(store, session)
        assert [(position, json.loads(text)) for position, text in messages] == [(1, {"rotated": {}})]
        assert [names for _, names in store.changes(before)] == [[session.key]]

    def test_the_id_before_the_one_before_finds_nothing(self, store: BaseSessionStore) -> None:
        session, first, second = put(store), rotation(), rotation()
        assert store.rotate(session.key, session.digest, first)
        assert store.rotate(session.key, first.digest, second)
        assert store.load(session.digest) is None
        assert store.load(first.digest) == store.load(second.digest) == reload(store, session)

    def test_one_of_many_who_rotate_at_once_does(self, store: BaseSessionStore) -> None:
        session = put(store)
        rotating = (store.arotate(session.key, session.digest, rotation()) for _ in range(8))
        assert together(*rotating).count(True) == 1
        assert store.load(session.digest) is not None

    def test_a_session_that_has_ended_or_is_not_there_stays_so(self, store: BaseSessionStore) -> None:
        ended = put(store, ended_at=NOW, end_reason=EndReason.DELETED)
        assert not store.rotate(ended.key, ended.digest, rotation())
        assert reload(store, ended) == ended
        assert not store.rotate("nobody", ended.digest, rotation())

    def test_a_taken_digest_is_refused(self, store: BaseSessionStore) -> None:
        session, other = put(store), put(store)
        with pytest.raises(DuplicateIdentifier):
            store.rotate(session.key, session.digest, rotation(digest=other.digest))
        assert reload(store, session) == session
        assert store.load(other.digest) == other

    def test_an_id_of_two_sessions_opens_neither_of_them_for_the_others_client(
        self, store: BaseSessionStore
    ) -> None:
        """A generator that draws the same id again would hand one client's session to another."""
        session = put(store)
        assert store.rotate(session.key, session.digest, rotation())
        try:
            store.create(other := make_session(digest=session.digest))
        except DuplicateIdentifier:
            assert store.load(session.digest) == reload(store, session)
        else:
            assert store.load(session.digest) is None
            assert store.load_by_key(other.key) == other

    def test_it_may_be_somebody_elses_from_then_on(self, store: BaseSessionStore) -> None:
        session = put(store, owner="", principal=principal_of("/mcp", "", "192.0.2.1"))
        assert store.rotate(session.key, session.digest, rotation(owner="ann", principal=ANN))
        rotated = reload(store, session)
        assert (rotated.owner, rotated.principal) == ("ann", ANN)
        # And counts for her.
        limits = Limits(per_principal=1, replaces=True)
        assert store.create(make_session(principal=session.principal), limits) == []
        assert [each.key for each in store.create(make_session(principal=ANN), limits)] == [session.key]

    def test_after_its_grace_the_deletion_removes_the_id_before(self, store: BaseSessionStore) -> None:
        over, young = put(store), put(store)
        now = timezone.now()
        for session, until in ((over, now - timedelta(seconds=5)), (young, now + HOUR)):
            assert store.rotate(session.key, session.digest, rotation(until=until))
        store.delete_unreachable(now - HOUR, 100)
        assert store.load(over.digest) is None
        assert _rotation_of(reload(store, over)) == ("", None, "")
        assert store.load(young.digest) == reload(store, young)
        assert reload(store, young).sealed_id == "sealed"

    def test_a_purged_session_leaves_no_id_behind(self, store: BaseSessionStore) -> None:
        session, new = put(store), rotation()
        assert store.rotate(session.key, session.digest, new)
        assert store.end(session.key, NOW, EndReason.DELETED)
        assert store.purge(NOW, 100) == 1
        assert store.load(session.digest) is store.load(new.digest) is None
        store.create(make_session(digest=session.digest))
        store.delete_unreachable(timezone.now() + 2 * HOUR, 100)
        assert store.load(session.digest) is not None


def _rotation_of(session: SessionRecord) -> tuple[object, ...]:
    return session.previous_digest, session.previous_until, session.sealed_id
