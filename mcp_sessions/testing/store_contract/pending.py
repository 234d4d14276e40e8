"""How much waits for a session that nobody listens for: MAX_PENDING and MAX_PENDING_BYTES."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from mcp_sessions.records import Send, SessionRecord
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import configured, put, put_read
from mcp_sessions.testing.store_contract.observing import reload, streams_of, texts_of, together, waiting_in


def send(store: BaseSessionStore, session: SessionRecord, *texts: str) -> str:
    """Send these in one batch; the stream in which the last is."""
    placed = store.append([Send(session.key, "message", text) for text in texts])
    return placed[-1][-1][0]


def dropped_from(store: BaseSessionStore, session: SessionRecord) -> int:
    return int(reload(store, session).metadata.get("dropped", 0))


class PendingContract:
    @pytest.fixture
    def three_may_wait(self) -> Iterator[None]:
        with configured(MAX_PENDING=3):
            yield

    @pytest.mark.usefixtures("three_may_wait")
    def test_the_oldest_goes_first(self, store: BaseSessionStore, caplog: pytest.LogCaptureFixture) -> None:
        session, other = put(store, metadata={"client": {"name": "a"}}), put(store)
        with caplog.at_level(logging.WARNING, "mcp_sessions.stores"):
            for text in "abc":
                name = send(store, session, text)
            assert (dropped_from(store, session), caplog.messages) == (0, [])
            send(store, other, "x")
            send(store, session, "d", "e")
        assert texts_of(store, name) == ["c", "d", "e"]
        assert dropped_from(store, session) == 2
        assert reload(store, session).metadata["client"] == {"name": "a"}
        assert dropped_from(store, other) == 0
        [line] = caplog.messages
        assert "dropped" in line
        assert session.key in line
        send(store, session, "f")
        assert dropped_from(store, session) == 3
        assert texts_of(store, put_read(store, session)) == ["d", "e", "f"]

    @pytest.mark.usefixtures("three_may_wait")
    def test_a_batch_that_is_too_much_by_itself(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = send(store, session, *"abcdefgh")
        assert texts_of(store, name) == ["f", "g", "h"]
        assert dropped_from(store, session) == 5

    @pytest.mark.usefixtures("three_may_wait")
    def test_nothing_of_a_stream_that_is_read_is_dropped(self, store: BaseSessionStore) -> None:
        """However slow its client is; what was not sent counts once it has left."""
        session = put(store)
        name = put_read(store, session)
        send(store, session, *"abcdef")
        assert texts_of(store, name) == list("abcdef")
        store.mark_delivered("reader", {name: 1}, leaving=True)
        assert (texts_of(store, name), dropped_from(store, session)) == (list("abcdef"), 0)
        send(store, session, "g")
        assert waiting_in(store, name) == ["e", "f", "g"]
        assert dropped_from(store, session) == 3

    @pytest.mark.usefixtures("three_may_wait")
    def test_what_was_delivered_does_not_count(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        send(store, session, *"abcdef")
        store.mark_delivered("reader", {name: 6}, leaving=True)
        send(store, session, "g", "h", "i")
        assert texts_of(store, name) == list("abcdefghi")
        assert dropped_from(store, session) == 0

    @pytest.fixture
    def bytes_may_wait(self) -> Iterator[None]:
        with configured(MAX_PENDING=100, MAX_PENDING_BYTES=640):
            yield

    @pytest.mark.usefixtures("bytes_may_wait")
    def test_large_ones_go_by_their_size(
        self, store: BaseSessionStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Each is looked at: what waits is never more than may wait."""
        session = put(store)
        texts = [f"{n}" * 200 for n in range(6)]
        with caplog.at_level(logging.WARNING, "mcp_sessions.stores"):
            for text in texts[:3]:
                name = send(store, session, text)
            assert (dropped_from(store, session), caplog.messages) == (0, [])
            send(store, session, texts[3])
            assert (texts_of(store, name), dropped_from(store, session)) == (texts[1:4], 1)
            send(store, session, *texts[4:])
        assert (texts_of(store, name), dropped_from(store, session)) == (texts[3:], 3)
        assert all("MAX_PENDING_BYTES (640)" in line for line in caplog.messages)
        [stream] = streams_of(store, session.key)
        assert (stream.trimmed, stream.delivered, stream.position) == (3, 3, 6)
        assert texts_of(store, put_read(store, session)) == texts[3:]

    @pytest.mark.usefixtures("bytes_may_wait")
    def test_one_that_is_too_large_by_itself(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = send(store, session, "a", "x" * 641, "b")
        assert (texts_of(store, name), dropped_from(store, session)) == (["b"], 2)

    @pytest.mark.usefixtures("bytes_may_wait")
    def test_small_ones_go_by_their_size_in_the_end(self, store: BaseSessionStore) -> None:
        """Stores may look at them now and then only, and half as much again may wait meanwhile."""
        session = put(store)
        send(store, session, "x" * 640)
        texts = [f"{n:02}" for n in range(64)]
        for text in texts:
            name = send(store, session, text)
        assert (texts_of(store, name), dropped_from(store, session)) == (texts, 1)

    @pytest.mark.usefixtures("bytes_may_wait")
    def test_what_is_read_or_was_delivered_has_no_size(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = put_read(store, session)
        send(store, session, "x" * 600, "y" * 600)
        assert len(texts_of(store, name)) == 2
        store.mark_delivered("reader", {name: 2}, leaving=True)
        send(store, session, "z" * 600)
        assert (len(texts_of(store, name)), dropped_from(store, session)) == (3, 0)

    def test_without_a_limit_everything_waits(self, store: BaseSessionStore) -> None:
        session = put(store)
        with configured(MAX_PENDING=None, MAX_PENDING_BYTES=None):
            name = send(store, session, *(f"{n}" for n in range(50)))
        assert len(texts_of(store, name)) == 50

    def test_an_endpoint_may_have_a_limit_of_its_own(self, store: BaseSessionStore) -> None:
        servers = {
            "/quiet": {"SERVER": "shop.tools:server", "MAX_PENDING": 1},
            "/small": {"SERVER": "shop.tools:server", "MAX_PENDING_BYTES": 3},
        }
        session, other, small = (put(store, server=path) for path in ("/quiet", "/mcp", "/small"))
        with configured(SERVERS=servers):
            assert texts_of(store, send(store, session, "a", "b")) == ["b"]
            assert texts_of(store, send(store, other, "a", "b")) == ["a", "b"]
            assert texts_of(store, send(store, small, "aa", "bb")) == ["bb"]

    @pytest.mark.usefixtures("three_may_wait")
    def test_sends_at_once_count_all_that_are_dropped(self, store: BaseSessionStore) -> None:
        session = put(store)
        name = send(store, session, "first")
        together(*(store.aappend([Send(session.key, "message", f"{n}")]) for n in range(19)))
        assert len(texts_of(store, name)) == 3
        assert dropped_from(store, session) == 17
