"""What clients say of themselves, parsed and kept: within a bound in bytes."""

from __future__ import annotations

from unittest import mock

from mcp_sessions.protocol import clients
from mcp_sessions.protocol.clients import KEPT_BYTES, LARGEST, ParsedClients
from mcp_sessions.records import SessionRecord
from mcp_sessions.testing.store_contract import make_session


def said(name: str, padding: int = 0) -> SessionRecord:
    client = {"name": name, "version": "1", "title": "x" * padding}
    return make_session(
        metadata={"protocol_version": "2025-11-25", "client": client, "capabilities": {"roots": {}}}
    )


def test_who_has_not_introduced_itself_is_nobody() -> None:
    assert ParsedClients().get(make_session()) is None


def test_what_is_said_twice_is_parsed_once() -> None:
    kept = ParsedClients()
    with mock.patch.object(clients, "_parse", wraps=clients._parse) as parsing:
        first, second = kept.get(said("a")), kept.get(said("a"))
    assert first is second is not None
    assert first.client_info.name == "a"
    assert parsing.call_count == 1


def test_no_more_is_kept_than_may_be() -> None:
    kept = ParsedClients()
    for number in range(2 * KEPT_BYTES // 5000):
        kept.get(said(str(number), 5000))
        assert kept.size <= KEPT_BYTES
    assert kept.size > KEPT_BYTES - 6000


def test_who_says_much_pushes_nobody_out() -> None:
    kept = ParsedClients()
    small = kept.get(said("small"))
    for number in range(KEPT_BYTES // LARGEST + 1):
        large = kept.get(said(str(number), LARGEST))
        assert large is not None
        assert large.client_info.name == str(number)
    assert kept.get(said("small")) is small
    assert kept.size < 1000


def test_who_was_not_asked_for_longest_goes_first() -> None:
    kept = ParsedClients()
    often, rarely = kept.get(said("often")), kept.get(said("rarely"))
    for number in range(KEPT_BYTES // 5000 + 1):
        kept.get(said(str(number), 5000))
        assert kept.get(said("often")) is often
    assert kept.get(said("rarely")) is not rarely
