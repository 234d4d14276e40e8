"""SessionManager: which ids are made, and which are let through to the store."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.conf import AppSettings, problems
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.identifiers import ENTROPY_BITS, MAX_LENGTH
from mcp_sessions.lifecycle.manager import SessionManager

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=150)
URL_SAFE = st.from_regex(r"[A-Za-z0-9_-]{1,150}", fullmatch=True)

NOT_CALLABLE = "an attribute of this module"


@contextmanager
def manager(**options: Any) -> Iterator[SessionManager]:
    """The manager of an endpoint with these options."""
    entry = {"SERVER": "tests.servers:server", **options}
    with override_settings(MCP_SESSIONS={"SERVERS": {"/mcp": entry}}):
        yield SessionManager("/mcp")


@dataclass(frozen=True)
class Made:
    """A generator that makes these, one after the other, and says what they look like."""

    made: tuple[Any, ...]
    pattern: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "_next", cycle(self.made))

    def __call__(self) -> Any:
        return next(self._next)  # type: ignore[attr-defined]


def lower_case() -> str:
    return secrets.token_hex(20)


def patterned() -> str:
    return "acme-" + secrets.token_urlsafe(16 + secrets.randbelow(9))


patterned.pattern = r"acme-[A-Za-z0-9_-]{22,32}"  # type: ignore[attr-defined]


def in_base_36(number: int) -> str:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return in_base_36(number // 36) + digits[number % 36] if number >= 36 else digits[number]


def guides_sample() -> Callable[[], str]:
    """The guide's chapter "Custom Session ID Generation", its lambda in Python."""
    return lambda: f"MCP{in_base_36(int(time.time()))}{secrets.token_hex(12).upper()}"


# -- ours ------------------------------------------------------------------------------------


def test_by_default_it_makes_what_the_guide_shows_and_knows_it_again() -> None:
    with manager() as ours:
        session_id = ours.generate_session_id()
        assert re.fullmatch("[A-Z0-9]{32}", session_id)
        assert ours.validate_session_id(session_id)
        assert ours.validate_session_id("A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6")
    assert AppSettings().SESSION_ID_ENTROPY == ENTROPY_BITS


def test_it_needs_no_name_for_the_only_endpoint() -> None:
    with manager(SESSION_ID_ENTROPY=256):
        assert len(SessionManager().generate_session_id()) == 50


def test_nil_is_no_id() -> None:
    with manager() as ours:
        assert not ours.validate_session_id(None)


def test_nothing_is_no_id() -> None:
    with manager() as ours:
        assert not ours.validate_session_id("")


@pytest.mark.parametrize("length", [1, 22, 31, 33, 128, 10_000])
def test_another_length_is_no_id(length: int) -> None:
    with manager() as ours:
        assert ours.validate_session_id("A" * 32)
        assert not ours.validate_session_id("A" * length)


@pytest.mark.parametrize(
    "character", ["a", "z", "_", "-", ".", " ", "\n", "\x00", "/", "Ä", "\uff21", "\u0663"]
)
@pytest.mark.parametrize("place", [0, 15, 31])
def test_another_alphabet_is_no_id(character: str, place: int) -> None:
    with manager() as ours:
        assert not ours.validate_session_id("A" * place + character + "A" * (31 - place))


def test_a_line_end_behind_an_id_is_not_overlooked() -> None:
    with manager() as ours:
        assert not ours.validate_session_id("A" * 32 + "\n")


@given(st.one_of(ANY_TEXT, URL_SAFE))
def test_strict_is_exactly_what_is_made(text: str) -> None:
    with manager() as ours:
        assert ours.validate_session_id(text) == bool(re.fullmatch("[A-Z0-9]{32}", text))


@given(st.one_of(ANY_TEXT, URL_SAFE))
def test_lenient_is_any_url_safe_text_of_22_to_128_characters(text: str) -> None:
    with manager(SESSION_VALIDATION="lenient") as ours:
        assert ours.validate_session_id(text) == bool(re.fullmatch("[A-Za-z0-9_-]{22,128}", text))
        assert not ours.validate_session_id(None)


@given(st.integers(128, 700), st.sampled_from(["strict", "lenient"]))
def test_every_entropy_that_may_be_set_makes_ids_that_are_known_again(bits: int, validation: str) -> None:
    with manager(SESSION_ID_ENTROPY=bits, SESSION_VALIDATION=validation) as ours:
        session_id = ours.generate_session_id()
        may_be_set = problems() == []
        assert may_be_set == (bits <= 661) == (len(session_id) <= MAX_LENGTH)
        assert ours.validate_session_id(session_id) == may_be_set


def test_ids_from_before_a_change_of_the_settings_are_let_through_while_it_is_lenient() -> None:
    with manager() as ours:
        old = ours.generate_session_id()
    with manager(SESSION_ID_ENTROPY=256) as ours:
        assert not ours.validate_session_id(old)
    with manager(SESSION_ID_ENTROPY=256, SESSION_VALIDATION="lenient") as ours:
        assert ours.validate_session_id(old)
        assert ours.validate_session_id(ours.generate_session_id())


def test_each_endpoint_has_its_own() -> None:
    servers = {
        "/mcp": "tests.servers:server",
        "/long": {"SERVER": "tests.servers:server", "SESSION_ID_ENTROPY": 256},
    }
    with override_settings(MCP_SESSIONS={"SERVERS": servers}):
        made = {path: SessionManager(path).generate_session_id() for path in servers}
        known = {
            path: [SessionManager(path).validate_session_id(each) for each in made.values()] for path in made
        }
    assert known == {"/mcp": [True, False], "/long": [False, True]}


# -- the project's ---------------------------------------------------------------------------


def test_a_generator_may_be_a_dotted_path() -> None:
    with manager(SESSION_ID_GENERATOR="tests.test_manager.lower_case") as ours:
        session_id = ours.generate_session_id()
        assert re.fullmatch("[0-9a-f]{40}", session_id)
        assert ours.validate_session_id(session_id)


def test_without_a_pattern_strict_is_the_length_that_it_makes() -> None:
    with manager(SESSION_ID_GENERATOR="tests.test_manager.lower_case") as ours:
        assert ours.validate_session_id("Z" * 40)
        assert not ours.validate_session_id("Z" * 39)
        assert not ours.validate_session_id("Z" * 41)
        assert not ours.validate_session_id("Z" * 39 + ".")


def test_an_id_is_known_to_a_process_that_has_made_none() -> None:
    """The first thing a worker is asked for may be what another one has made."""
    generator = Made(("A" * 30,))
    with manager(SESSION_ID_GENERATOR=generator) as ours:
        assert ours.validate_session_id("B" * 30)


def test_with_a_pattern_strict_is_the_pattern() -> None:
    with manager(SESSION_ID_GENERATOR="tests.test_manager.patterned") as ours:
        for _ in range(50):
            assert ours.validate_session_id(ours.generate_session_id())
        assert not ours.validate_session_id("emca-" + "A" * 25)
        assert not ours.validate_session_id("acme-" + "A" * 40)


def test_a_pattern_may_be_compiled_and_matches_as_a_whole() -> None:
    generator = Made(("a" * 30,), re.compile("A+", re.IGNORECASE))
    with manager(SESSION_ID_GENERATOR=generator) as ours:
        assert ours.generate_session_id() == "a" * 30
        assert ours.validate_session_id("aA" * 20)
        assert not ours.validate_session_id("a" * 30 + "b")


def test_no_pattern_lets_more_through_than_lenient() -> None:
    with manager(SESSION_ID_GENERATOR=Made(("a" * 30,), "(?s:.*)")) as ours:
        assert ours.validate_session_id("Z" * 128)
        for text in ("Z" * 129, "Z" * 21, "Z" * 30 + "\n", "ä" * 30):
            assert not ours.validate_session_id(text)


def test_a_generator_of_varying_length_needs_a_pattern() -> None:
    ids = ("A" * 30, "B" * 31)
    with manager(SESSION_ID_GENERATOR=Made(ids)) as ours:
        said = complaint(ours, draws=3)
    assert re.sub("3[01]", "so many", said) == (
        "SESSION_ID_GENERATOR made so many characters that are not of its form. "
        "If they differ in length give it a `pattern`, and if it has one make it match."
    )
    with manager(SESSION_ID_GENERATOR=Made(ids, "A+|B+")) as ours:
        assert {ours.generate_session_id() for _ in range(4)} == set(ids)
    with manager(SESSION_ID_GENERATOR=Made(ids), SESSION_VALIDATION="lenient") as ours:
        assert {ours.generate_session_id() for _ in range(4)} == set(ids)


def raising() -> str:
    raise RuntimeError("0123456789-SECRET-0123456789")


@pytest.mark.parametrize(
    ("generator", "said"),
    [
        (Made((7,)), "SESSION_ID_GENERATOR made a value of type int; an id is a str."),
        (Made((None,)), "SESSION_ID_GENERATOR made a value of type NoneType; an id is a str."),
        (Made((b"A" * 32,)), "SESSION_ID_GENERATOR made a value of type bytes; an id is a str."),
        (Made(("",)), "SESSION_ID_GENERATOR made 0 characters; an id has 22 to 128."),
        (Made(("A" * 21,)), "SESSION_ID_GENERATOR made 21 characters; an id has 22 to 128."),
        (Made(("A" * 129,)), "SESSION_ID_GENERATOR made 129 characters; an id has 22 to 128."),
        *(
            (Made(("A" * 30 + each,)), "SESSION_ID_GENERATOR made more than A-Z, a-z, 0-9, - and _.")
            for each in (" ", "\n", "\x7f", "ä", "+", "/", "=", "~")
        ),
        (raising, "SESSION_ID_GENERATOR raised RuntimeError."),
        (Made(("A" * 30,), "B+"), None),
        (
            Made(("A" * 30,), "(A"),
            "SESSION_ID_GENERATOR's pattern is none: missing ), unterminated subpattern at position 0.",
        ),
        (
            Made(("A" * 30,), 7),
            "SESSION_ID_GENERATOR's pattern is none: first argument must be string or compiled pattern.",
        ),
        (
            Made(("A" * 30,), re.compile(b"A+")),
            "SESSION_ID_GENERATOR's pattern is none: cannot use a bytes pattern on a string-like object.",
        ),
        ("tests.nowhere.generator", "SESSION_ID_GENERATOR: No module named 'tests.nowhere'"),
        ("generator", "SESSION_ID_GENERATOR: generator doesn't look like a module path"),
        (
            "tests.test_manager.NOT_CALLABLE",
            "SESSION_ID_GENERATOR: tests.test_manager.NOT_CALLABLE is not callable.",
        ),
    ],
)
def test_what_cannot_be_an_id_is_refused_and_not_quoted(generator: Any, said: str | None) -> None:
    with manager(SESSION_ID_GENERATOR=generator) as ours:
        made = complaint(ours)
    assert made == (said or made)
    assert "AAAA" not in made and "SECRET" not in made


def complaint(ours: SessionManager, draws: int = 1) -> str:
    with pytest.raises(ConfigurationError) as raised:
        for _ in range(draws):
            ours.generate_session_id()
    return str(raised.value)


# -- the guide's sample ----------------------------------------------------------------------


def test_the_guides_sample_generator_works_here() -> None:
    with manager(SESSION_ID_GENERATOR=guides_sample()) as ours:
        made = {ours.generate_session_id() for _ in range(100)}
        assert len(made) == 100
        assert all(re.fullmatch("MCP[0-9A-Z]+[0-9A-F]{24}", each) for each in made)
        assert all(map(ours.validate_session_id, made))


def test_the_guides_validator_refuses_what_the_guides_sample_makes() -> None:
    """It wants 32 characters. The sample's are MCP, six of the time (seven from 2038) and 24 of chance."""
    made = guides_sample()()
    assert len(made) > 32
    with manager() as ours:
        assert not ours.validate_session_id(made)


def test_the_guides_sample_has_fewer_bits_than_the_guide_asks_for() -> None:
    """Two of one second differ in 24 hexadecimal characters only: 96 bits, where it wants 128."""
    chance = guides_sample()()[-24:]
    assert len(chance) * 4 == 96 < 128


def test_letting_the_guides_sample_go_needs_lenient_days() -> None:
    with manager(SESSION_ID_GENERATOR=guides_sample()) as ours:
        old = ours.generate_session_id()
    with manager(SESSION_VALIDATION="lenient") as ours:
        assert ours.validate_session_id(old)
        assert ours.validate_session_id(ours.generate_session_id())
