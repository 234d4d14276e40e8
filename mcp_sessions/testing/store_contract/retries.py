"""A batch with a token is stored once, however often it is tried."""

from __future__ import annotations

import pytest

from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.identifiers import new_token
from mcp_sessions.records import Append, Send
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import messages, put, put_read, put_stream
from mcp_sessions.testing.store_contract.observing import texts_of, together


class RetryContract:
    def test_what_was_stored_is_not_stored_again(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, other = put_read(store, session), put_stream(store)
        token = new_token()
        batch: list[Append | Send] = [Append(name, messages("a")), Send(session.key, "message", "b")]
        assert store.append(batch, token) == [((name, 1),), ((name, 2),)]
        with pytest.raises(DuplicateIdentifier):
            store.append(batch, token)
        with pytest.raises(DuplicateIdentifier):
            store.append([Append(other, messages("c"))], token)
        assert texts_of(store, name) == ["a", "b"]
        assert texts_of(store, other) == []
        assert len(store.changes(0)) == 1
        assert store.append(batch, new_token()) == [((name, 3),), ((name, 4),)]
        assert store.append(batch) == [((name, 5),), ((name, 6),)]

    def test_nor_is_what_could_not_be_stored_again_anyway(self, store: BaseSessionStore) -> None:
        """The end of a stream: a retry is answered as stored, not as refused."""
        session = put(store)
        name, call = put_stream(store, session, "post", "w"), put_stream(store, session, "call", "w")
        end = Append(call, (), ends=True, writer="w")
        batches: list[list[Append | Send]] = [
            [Append(name, messages("last"), ends=True, writer="w")],
            [Send(session.key, "message", "answer", call=end)],
        ]
        for batch in batches:
            token = new_token()
            assert all(store.append(batch, token))
            with pytest.raises(DuplicateIdentifier):
                store.append(batch, token)
        assert texts_of(store, name) == ["last"]
        assert texts_of(store, put_read(store, session)) == ["answer"]

    def test_of_many_who_try_one_stores(self, store: BaseSessionStore) -> None:
        session = put(store)
        name, token = put_read(store, session), new_token()

        async def try_it() -> bool:
            try:
                return bool(await store.aappend([Send(session.key, "message", "a")], token))
            except DuplicateIdentifier:
                return False

        assert sorted(together(*(try_it() for _ in range(6)))) == [False] * 5 + [True]
        assert texts_of(store, name) == ["a"]
