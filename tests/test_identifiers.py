"""Session ids, which are credentials, and the names that are not."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions import identifiers
from mcp_sessions.identifiers import digest_of, is_key, is_session_id, new_session_id

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def test_a_session_id_has_the_bits_it_promises() -> None:
    session_id = new_session_id()
    assert re.fullmatch("[A-Z0-9]{32}", session_id)
    assert len(session_id) * math.log2(36) >= identifiers.ENTROPY_BITS >= 128
    assert is_session_id(session_id)
    # Only these characters may be in the header (transport.md 1.7).
    assert all(0x21 <= ord(character) <= 0x7E for character in session_id)


@pytest.mark.parametrize("bits", [128, 165, 256, 512])
def test_more_bits_make_a_longer_one(bits: int) -> None:
    session_id = new_session_id(bits)
    assert len(session_id) == math.ceil(bits / math.log2(36))
    assert is_session_id(session_id)


def test_every_character_comes_up() -> None:
    drawn = "".join(new_session_id() for _ in range(300))
    assert set(drawn) == set(identifiers.ALPHABET)
    # 9,600 draws from 36: each comes up 267 times, give or take seven standard deviations.
    assert all(150 < drawn.count(character) < 400 for character in identifiers.ALPHABET)


@pytest.mark.parametrize(
    "make",
    [
        new_session_id,
        identifiers.new_key,
        identifiers.new_stream_name,
        identifiers.new_request_id,
        identifiers.new_lease,
    ],
)
def test_no_two_are_the_same(make: Callable[[], str]) -> None:
    made = [make() for _ in range(2000)]
    assert len(set(made)) == 2000
    assert all(name.isascii() for name in made)


def test_names_fit_where_they_are_kept() -> None:
    assert len(identifiers.new_key()) == 24 and is_key(identifiers.new_key())
    assert len(identifiers.new_stream_name()) == 16
    # A request's id must never be one that a client could draw as a number.
    assert identifiers.new_request_id().startswith("ask-")


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "A" * 21, "A" * 129, "ä" * 32, "\uff21" * 32, "\ud800" * 32, "../" * 10, "\nA" * 32),
        *("A" * 31 + end for end in (" ", "\n", "A\n", "\x00", ".", "=")),
    ],
)
def test_what_is_no_session_id(text: str) -> None:
    assert not is_session_id(text)


@given(ANY_TEXT)
def test_any_text_may_be_asked_about(text: str) -> None:
    assert is_session_id(text) == bool(re.fullmatch(r"[A-Za-z0-9_-]{22,128}", text))
    assert is_key(text) == bool(re.fullmatch(r"[A-Za-z0-9_-]{1,32}", text))


def test_the_store_keeps_a_digest() -> None:
    session_id = new_session_id()
    digest = digest_of(session_id)
    assert digest == hashlib.sha256(session_id.encode()).hexdigest()
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert session_id not in digest and digest != digest_of(new_session_id())
