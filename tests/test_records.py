"""The arithmetic on time, and what a record says of itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.records import (
    Append,
    Attachment,
    Event,
    Reading,
    Send,
    SessionRecord,
    StreamRecord,
    Touch,
    expiry,
    flush_interval,
    latest_writing,
    refreshed,
)

INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
SECONDS = st.floats(0.001, 10_000_000)
NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def session(**changes: object) -> SessionRecord:
    values: dict[str, object] = {
        "key": "k",
        "digest": "d",
        "server": "/mcp",
        "owner": "",
        "created_at": NOW,
        "last_accessed_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
    }
    return SessionRecord(**{**values, **changes})  # type: ignore[arg-type]


@given(INSTANTS, SECONDS)
def test_a_session_just_used_lives_for_its_timeout(now: datetime, timeout: float) -> None:
    end = expiry(now, timeout)
    record = session(expires_at=end)
    assert abs((end - now).total_seconds() - timeout) <= 1e-6
    assert not record.is_live(end)
    if timeout > 1e-5:
        assert record.is_live(end - timedelta(microseconds=1))


@given(INSTANTS, INSTANTS, SECONDS, st.none() | SECONDS)
def test_a_use_never_shortens_a_session(
    end: datetime, now: datetime, timeout: float, threshold: float | None
) -> None:
    new = refreshed(end, now, timeout, threshold)
    assert new >= end
    assert new in {end, expiry(now, timeout)}


@given(INSTANTS, SECONDS, SECONDS)
def test_without_a_threshold_every_use_counts_in_full(now: datetime, timeout: float, left: float) -> None:
    assert refreshed(expiry(now, left), now, timeout, None) == expiry(now, max(left, timeout))


@given(INSTANTS, SECONDS, SECONDS, SECONDS)
def test_the_end_moves_only_when_less_than_the_threshold_remains(
    now: datetime, timeout: float, threshold: float, left: float
) -> None:
    end = expiry(now, left)
    new = refreshed(end, now, timeout, threshold)
    if end - now >= timedelta(seconds=threshold):
        assert new == end
    else:
        assert new == max(end, expiry(now, timeout))


@given(INSTANTS, SECONDS, st.none() | SECONDS)
def test_refreshing_twice_at_one_instant_is_refreshing_once(
    now: datetime, timeout: float, threshold: float | None
) -> None:
    once = refreshed(now, now, timeout, threshold)
    assert refreshed(once, now, timeout, threshold) == once


@given(SECONDS, SECONDS)
def test_uses_are_written_well_before_the_session_expires(touch: float, timeout: float) -> None:
    interval = flush_interval(touch, timeout)
    assert 0 < interval <= touch
    assert interval * 4 <= timeout


@given(INSTANTS, SECONDS)
def test_a_use_is_written_while_others_still_find_the_session_live(now: datetime, left: float) -> None:
    end = expiry(now, left)
    seconds = latest_writing(end, now)
    assert 0 <= seconds <= left
    assert session(expires_at=end).is_live(now + timedelta(seconds=seconds)) or left < 1e-5


@given(INSTANTS, SECONDS)
def test_a_use_of_what_has_expired_is_written_at_once(now: datetime, late: float) -> None:
    assert latest_writing(now, now) == 0
    assert latest_writing(now, expiry(now, late)) == 0


def test_an_ended_session_is_not_live() -> None:
    assert session().is_live(NOW)
    assert not session(ended_at=NOW).is_live(NOW)


def test_what_metadata_says() -> None:
    bare = session()
    assert (bare.dialect, bare.protocol_version, bare.log_level) == ("specification", "", None)
    told = session(metadata={"dialect": "guide", "protocol_version": "2025-06-18", "log_level": "info"})
    assert (told.dialect, told.protocol_version, told.log_level) == ("guide", "2025-06-18", "info")


@given(
    st.dictionaries(st.text(max_size=3), st.integers()),
    st.dictionaries(st.sampled_from("abc"), st.integers()),
)
def test_with_metadata_changes_a_copy(before: dict[str, int], changes: dict[str, int]) -> None:
    record = session(metadata=before)
    changed = record.with_metadata(**changes)
    assert changed.metadata == {**before, **changes}
    assert record.metadata == before
    assert changed.key == record.key


def test_records_are_frozen() -> None:
    with pytest.raises(AttributeError):
        session().key = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        StreamRecord("n", "k", "get").position = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Send("k", "message", "").only_now = True  # type: ignore[misc]


def test_records_that_are_put_into_sets_can_be() -> None:
    """Two of the same are one: nothing in them changes, down to the events and the request ids."""
    stream = StreamRecord("n", "k", "post", request_ids=(1, "1"), writer="w")
    append = Append("n", (("message", "{}"),), writer="w")
    records = [
        Event(1, "message", "{}"),
        Reading((Event(1, "message", "{}"),), end=1),
        append,
        Send("k", "message", "{}", call=append),
        Attachment(stream),
        Touch("k", NOW, NOW),
    ]
    assert len({*records, *records}) == len(records)
