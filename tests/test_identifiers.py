"""Session ids, which are credentials, and the names that are not."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions import identifiers
from mcp_sessions.identifiers import ALPHABET, digest_of, is_key, is_session_id, length_for, new_session_id

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def test_a_session_id_has_the_bits_it_promises() -> None:
    session_id = new_session_id()
    assert re.fullmatch("[A-Z0-9]{32}", session_id)
    assert len(session_id) * math.log2(36) >= identifiers.ENTROPY_BITS >= 128
    assert is_session_id(session_id)
    # Only these characters may be in the header (the specification, "Session Management").
    assert all(0x21 <= ord(character) <= 0x7E for character in session_id)


@given(st.integers(128, 700))
def test_it_has_as_many_characters_as_its_bits_need_and_no_more(bits: int) -> None:
    length = length_for(bits)
    assert 36 ** (length - 1) < 2**bits <= 36**length
    session_id = new_session_id(bits)
    assert re.fullmatch("[A-Z0-9]+", session_id) and len(session_id) == length


def test_bits_may_be_fractions() -> None:
    carried = math.log2(36) * 30
    assert (length_for(carried - 0.01), length_for(carried + 0.01)) == (30, 31)


def unevenness(characters: str) -> float:
    """Chi-square of the characters against an even spread over the alphabet: about 35 if it is even."""
    expected = len(characters) / len(ALPHABET)
    counts = Counter(characters)
    return sum((counts[each] - expected) ** 2 / expected for each in ALPHABET)


# An even spread is outside of these once in 10^11 times: at 35 degrees of freedom 160 has a tail
# below 10^-15, and 3 (too even to be chance) one below 10^-11.
EVEN = (3, 160)


def test_every_character_is_as_likely_as_any_other_at_every_place() -> None:
    drawn = [new_session_id() for _ in range(3600)]
    assert EVEN[0] < unevenness("".join(drawn)) < EVEN[1]
    for place in zip(*drawn, strict=True):
        assert EVEN[0] < unevenness("".join(place)) < EVEN[1]


def test_the_guides_way_of_drawing_them_is_not_even() -> None:
    """`alphanumeric(32).upcase`: each letter comes up twice as often as each digit. 164 bits, not 192."""
    mixed = string.ascii_letters + string.digits
    drawn = "".join(secrets.choice(mixed) for _ in range(3600 * 32)).upper()
    # About 7,800 is expected, give or take 180.
    assert unevenness(drawn) > 5000
    shares = [each / 62 for each in (*[2] * 26, *[1] * 10)]
    assert round(-32 * sum(share * math.log2(share) for share in shares)) == 164


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
