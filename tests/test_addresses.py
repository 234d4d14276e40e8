"""Where a request comes from: a client cannot choose, whatever it sends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.exchange import Exchange, header_map
from mcp_sessions.security.addresses import client_address

PEER = "192.0.2.1"
ENDPOINTS = {
    f"/{proxies}": {"SERVER": "tests.servers:server", "TRUSTED_PROXIES": proxies} for proxies in range(4)
}

ANY_VALUE = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60)
ADDRESS = st.ip_addresses().map(str)


@pytest.fixture(autouse=True)
def _endpoints(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVERS": ENDPOINTS}


def address_of(proxies: int, *forwarded: str) -> str:
    """The address that is found behind so many trusted proxies, of a request with these headers."""
    headers = header_map([("X-Forwarded-For", each) for each in forwarded])
    return client_address(Exchange("POST", f"/{proxies}", "/", headers, address=PEER))


def test_without_trusted_proxies_it_is_the_peers_whatever_the_header_says() -> None:
    assert address_of(0) == PEER
    assert address_of(0, "203.0.113.9") == PEER


def test_behind_proxies_it_is_what_the_first_of_them_was_called_by() -> None:
    assert address_of(1, "203.0.113.9") == "203.0.113.9"
    assert address_of(1, "198.51.100.7, 203.0.113.9") == "203.0.113.9"
    assert address_of(2, "198.51.100.7, 203.0.113.9, 10.0.0.1") == "203.0.113.9"


def test_a_proxy_may_append_a_header_of_its_own() -> None:
    assert address_of(1, "198.51.100.7", "203.0.113.9") == "203.0.113.9"
    assert address_of(2, "198.51.100.7", "203.0.113.9", "10.0.0.1") == "203.0.113.9"


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("203.0.113.9:4711", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("\t203.0.113.9 ", "203.0.113.9"),
    ],
)
def test_ports_and_brackets_are_stripped(entry: str, address: str) -> None:
    assert address_of(1, entry) == address


@pytest.mark.parametrize(
    "entry",
    ["", " ", "unknown", "_hidden", "203.0.113.999", "client.example", "[203", "[]:80", ":80", "\xe4", "1"],
)
def test_of_junk_it_is_the_peers(entry: str) -> None:
    assert address_of(1, f"198.51.100.7, {entry}") == PEER


def test_of_too_few_entries_it_is_the_peers() -> None:
    assert address_of(1) == PEER
    assert address_of(2, "203.0.113.9") == PEER
    assert address_of(3, "198.51.100.7, 203.0.113.9") == PEER


@given(st.lists(ANY_VALUE, max_size=3), st.lists(ADDRESS, min_size=1, max_size=3), st.booleans())
def test_a_clients_own_header_never_counts(own: list[str], appended: list[str], as_lines: bool) -> None:
    """Each proxy appends whom it was called by: to the value that came, or as a line of its own."""
    lines = list(own)
    for address in appended:
        if as_lines or not lines:
            lines.append(address)
        else:
            lines[-1] = f"{lines[-1]}, {address}"
    assert address_of(len(appended), *lines) == appended[0]


@given(st.integers(0, 3), ANY_VALUE)
def test_any_header_is_taken(proxies: int, value: str) -> None:
    assert address_of(proxies, value)
