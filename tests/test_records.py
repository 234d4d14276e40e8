"""What a record says of itself, and whom a session counts for."""

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
    principal_of,
)

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
        "timeout_at": NOW + timedelta(hours=1),
    }
    return SessionRecord(**{**values, **changes})  # type: ignore[arg-type]


def test_an_ended_session_is_not_live() -> None:
    assert session().is_live(NOW)
    assert not session(ended_at=NOW).is_live(NOW)


def test_what_metadata_says() -> None:
    bare = session()
    assert (bare.dialect, bare.protocol_version, bare.log_level) == ("specification", "", None)
    assert (bare.client, session(metadata={"client": {"name": "a", "version": "1"}}).client) == ("", "a 1")
    told = session(metadata={"dialect": "guide", "protocol_version": "2025-06-18", "log_level": "info"})
    assert (told.dialect, told.protocol_version, told.log_level) == ("guide", "2025-06-18", "info")


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
        Touch("k", NOW, NOW, NOW),
    ]
    assert len({*records, *records}) == len(records)


def test_an_owner_is_one_principal_wherever_it_comes_from() -> None:
    assert principal_of("/mcp", "somebody", "192.0.2.1") == principal_of("/mcp", "somebody", "192.0.2.2")
    assert principal_of("/mcp", "somebody", "") != principal_of("/mcp", "somebody else", "")
    assert principal_of("/mcp", "somebody", "") != principal_of("/other", "somebody", "")


def test_who_is_anonymous_is_an_address() -> None:
    first = principal_of("/mcp", "", "192.0.2.1")
    assert first != principal_of("/mcp", "", "192.0.2.2")
    assert first == principal_of("/mcp", "", "::ffff:192.0.2.1")
    assert first != principal_of("/mcp", "192.0.2.1", "")


def test_a_network_of_ipv6_is_one_address() -> None:
    first = principal_of("/mcp", "", "2001:db8:1:2::1")
    assert first == principal_of("/mcp", "", "2001:db8:1:2:3:4:5:6")
    assert first != principal_of("/mcp", "", "2001:db8:1:3::1")


@given(st.text(), st.text(), st.text())
def test_a_principal_is_32_hexadecimal_characters(server: str, owner: str, address: str) -> None:
    assert int(principal_of(server, owner, address), 16) >= 0
    assert len(principal_of(server, owner, address)) == 32
