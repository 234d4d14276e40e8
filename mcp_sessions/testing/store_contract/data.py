"""The session's data: lease and release, and what can be kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from mcp_sessions.exceptions import InvalidSessionData, SessionEnded
from mcp_sessions.identifiers import new_key, new_lease
from mcp_sessions.records import EndReason
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, put
from mcp_sessions.testing.store_contract.observing import reload, together

KEPT_DATA: list[dict[str, Any]] = [
    {},
    {"basket": ["tea", 2, 1.5, True, None, {"of": "things"}]},
    {"text": 'ü 😀 "quoted" \\ \\u0000 is six characters\n\t\u2028'},
    {"": "an empty name", 'na"me': 1, "$.path": 2},
    {"large": 2**63, "negative": -(2**70)},
]
REFUSED_DATA: list[dict[str, Any]] = [
    {"nul": "a\x00b"},
    {"a\x00b": "nul in a name"},
    {"nul after a backslash": "\\\x00"},
    {"surrogate": "\ud800"},
    {"surrogate in a name \udfff": 1},
    {"nan": float("nan")},
    {"infinite": float("inf")},
    {"object": object()},
    {"bytes": b"bytes"},
    {"set": {1}},
]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"inner": value}
    return value


class DataContract:
    def test_a_lease_keeps_others_out(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        assert store.lease(session.key, "mine", NOW, NOW + HOUR) == {"count": 1}
        assert store.lease(session.key, "yours", NOW, NOW + HOUR) is None
        assert store.release(session.key, "mine", {"count": 2}) is True
        assert store.lease(session.key, "yours", NOW, NOW + HOUR) == {"count": 2}

    def test_a_lease_is_given_back_without_writing(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert store.release(session.key, "mine", None) is True
        assert store.lease(session.key, "yours", NOW, NOW + HOUR) == {"count": 1}

    def test_a_lease_that_ran_out_is_lost_to_the_next(self, store: BaseSessionStore) -> None:
        session = put(store, expires_at=NOW + 10 * HOUR, data={"count": 1})
        store.lease(session.key, "slow", NOW, NOW + HOUR)
        later = NOW + HOUR + timedelta(microseconds=1)
        assert store.lease(session.key, "next", later, later + HOUR) == {"count": 1}
        assert store.release(session.key, "slow", {"count": 99}) is False
        assert store.release(session.key, "slow", None) is False
        assert store.lease(session.key, "slow", later, later + HOUR) is None
        assert store.release(session.key, "next", {"count": 2}) is True
        assert reload(store, session).data == {"count": 2}

    def test_who_has_the_lease_may_take_it_again(self, store: BaseSessionStore) -> None:
        session = put(store, expires_at=NOW + 10 * HOUR)
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert store.lease(session.key, "mine", NOW, NOW + 2 * HOUR) == {}
        assert store.lease(session.key, "yours", NOW + HOUR * 1.5, NOW + 2 * HOUR) is None

    def test_a_lease_is_renewed(self, store: BaseSessionStore) -> None:
        session = put(store, expires_at=NOW + 10 * HOUR)
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert store.renew(session.key, "mine", NOW + 2 * HOUR)
        assert store.lease(session.key, "yours", NOW + HOUR * 1.5, NOW + 2 * HOUR) is None
        assert not store.renew(session.key, "yours", NOW + 2 * HOUR)
        assert not store.renew(new_key(), "mine", NOW + 2 * HOUR)

    def test_a_lease_that_was_given_back_is_not_renewed(self, store: BaseSessionStore) -> None:
        """Somebody else may have changed the data since."""
        session = put(store, expires_at=NOW + 10 * HOUR)
        store.lease(session.key, "slow", NOW, NOW + HOUR)
        later = NOW + HOUR + timedelta(microseconds=1)
        store.lease(session.key, "next", later, later + HOUR)
        assert not store.renew(session.key, "slow", later + HOUR)
        store.release(session.key, "next", {"count": 1})
        assert not store.renew(session.key, "slow", later + HOUR)
        assert store.release(session.key, "slow", {"count": 99}) is False

    def test_a_lease_of_an_ended_session_is_not_renewed(self, store: BaseSessionStore) -> None:
        session = put(store)
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        store.end(session.key, NOW, EndReason.DELETED)
        assert not store.renew(session.key, "mine", NOW + HOUR)

    def test_data_of_an_ended_session_is_not_edited(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        store.end(session.key, NOW, EndReason.DELETED)
        for key in (session.key, new_key()):
            with pytest.raises(SessionEnded):
                store.lease(key, "yours", NOW, NOW + HOUR)
            with pytest.raises(SessionEnded):
                store.release(key, "mine", {"count": 2})
        assert reload(store, session).data == {"count": 1}

    @pytest.mark.parametrize("data", [*KEPT_DATA, nested(31)])
    def test_data_comes_back_as_it_was(self, store: BaseSessionStore, data: dict[str, Any]) -> None:
        session = put(store)
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert store.release(session.key, "mine", data)
        assert reload(store, session).data == data

    @pytest.mark.parametrize("data", [*REFUSED_DATA, nested(32), nested(100_000)])
    def test_data_that_is_no_json_is_refused(self, store: BaseSessionStore, data: dict[str, Any]) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        with pytest.raises(InvalidSessionData):
            store.release(session.key, "mine", data)
        assert store.lease(session.key, "next", NOW, NOW + HOUR) == {"count": 1}

    def test_data_of_an_expired_session_is_not_edited(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        for token in ("mine", "yours"):
            with pytest.raises(SessionEnded):
                store.lease(session.key, token, session.expires_at, session.expires_at + HOUR)
        assert reload(store, session) == session

    def test_a_hundred_increments_at_once_keep_a_hundred(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 0})

        async def increment_ten_times() -> None:
            for _ in range(10):
                token = new_lease()
                while (data := await store.alease(session.key, token, NOW, NOW + HOUR)) is None:
                    await asyncio.sleep(0.001)
                assert await store.arelease(session.key, token, {"count": data["count"] + 1})

        together(*(increment_ten_times() for _ in range(10)))
        assert reload(store, session).data == {"count": 100}
