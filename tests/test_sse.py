"""Server-sent events as a browser reads them, and event ids as whoever comes back with one."""

from __future__ import annotations

import base64
import codecs
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions import jsonrpc, sse

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.from_regex(r"[A-Za-z0-9._:-]{1,20}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9_-]{1,40}\.[0-9]{1,18}", fullmatch=True)


@dataclass
class Dispatched:
    """What a browser's EventSource hands to the page."""

    type: str
    data: str
    last_event_id: str


class EventSource:
    """The interpretation of a stream by WHATWG HTML 9.2.6, line by line as it is written there."""

    def __init__(self) -> None:
        self.reconnection_time: int | None = None
        self.last_event_id = ""
        self._data: list[str] = []
        self._type = ""
        self._id = ""
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._is_first = True

    def feed(self, chunk: bytes) -> Iterator[Dispatched]:
        self._rest += self._decoder.decode(chunk)
        if self._is_first and self._rest:
            self._rest = self._rest.removeprefix("\ufeff")
            self._is_first = False
        while (line := self._take_line()) is not None:
            if not line:
                yield from self._dispatch()
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                self._process(name, value.removeprefix(" "))

    def _take_line(self) -> str | None:
        ends = [place for place in (self._rest.find("\r"), self._rest.find("\n")) if place >= 0]
        # A carriage return at the end may be the first half of a line end.
        if not ends or (self._rest[min(ends)] == "\r" and min(ends) == len(self._rest) - 1):
            return None
        end = min(ends)
        line = self._rest[:end]
        self._rest = self._rest[end + (2 if self._rest[end : end + 2] == "\r\n" else 1) :]
        return line

    def _process(self, name: str, value: str) -> None:
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.reconnection_time = int(value)

    def _dispatch(self) -> Iterator[Dispatched]:
        self.last_event_id = self._id
        # "If the data buffer is an empty string", and one empty line of data leaves it one.
        if any(self._data) or len(self._data) > 1:
            yield Dispatched(self._type or "message", "\n".join(self._data), self.last_event_id)
        self._data, self._type = [], ""


def read(*chunks: bytes) -> tuple[list[Dispatched], EventSource]:
    source = EventSource()
    return [event for chunk in chunks for event in source.feed(chunk)], source


def normalised(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(TEXT.filter(bool), st.none() | NAMES, st.none() | IDS, st.none() | st.integers(0, 10**9))
def test_what_is_framed_is_what_is_read(
    data: str, name: str | None, id: str | None, retry: int | None
) -> None:
    events, source = read(sse.frame(data, event=name, id=id, retry=retry))
    assert events == [Dispatched(name or "message", normalised(data), id or "")]
    assert source.reconnection_time == retry


@given(JSON)
def test_json_is_one_line_and_comes_through_as_it_is(value: Any) -> None:
    text = jsonrpc.encode(value)
    framed = sse.frame(text)
    assert framed == f"data: {text}\n\n".encode("ascii")
    (event,), _ = read(framed)
    assert event.data == text


@given(
    st.lists(st.tuples(TEXT.filter(bool), IDS), max_size=5),
    st.lists(st.integers(0, 400), max_size=6),
    st.booleans(),
)
def test_it_does_not_matter_where_a_stream_is_cut(
    events: list[tuple[str, str]], cuts: list[int], keeps_alive: bool
) -> None:
    between = sse.KEEP_ALIVE if keeps_alive else b""
    whole = b"".join(between + sse.frame(data, id=id) for data, id in events) + between
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    chunks = [whole[start:end] for start, end in itertools.pairwise(places)]
    found, _ = read(*chunks)
    assert [(each.data, each.last_event_id) for each in found] == [(normalised(d), id) for d, id in events]


def test_a_priming_event_moves_the_place_and_is_not_seen() -> None:
    events, source = read(sse.frame("", id="abc.0", retry=1000))
    assert events == []
    assert (source.last_event_id, source.reconnection_time) == ("abc.0", 1000)


def test_keep_alives_and_pauses_are_not_seen() -> None:
    events, source = read(sse.frame("a", id="x.1"), sse.KEEP_ALIVE, sse.retry_frame(250), sse.KEEP_ALIVE)
    assert [event.data for event in events] == ["a"]
    assert (source.last_event_id, source.reconnection_time) == ("x.1", 250)


def test_the_bytes() -> None:
    assert sse.frame("a") == b"data: a\n\n"
    assert sse.frame("a\nb\r\n\rc") == b"data: a\ndata: b\ndata:\ndata: c\n\n"
    assert sse.frame("{}", event="e", id="i.1", retry=5) == b"id: i.1\nevent: e\nretry: 5\ndata: {}\n\n"
    assert sse.frame("", id="i.0") == b"id: i.0\ndata:\n\n"
    assert sse.frame(" a: b") == b"data:  a: b\n\n"


# Event ids


@given(st.from_regex(r"[A-Za-z0-9_.-]{1,120}", fullmatch=True), st.integers(0, 10**18 - 1))
def test_an_event_id_comes_back_as_it_was(prefix: str, position: int) -> None:
    assert sse.parse_event_id(sse.event_id(prefix, position)) == (prefix, position)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "a", "a.", ".1", "a.b", "a.-1", "a.+1", "a.1 ", " a.", "a.1.", "a.1e3", "a.0x1", "a.1_0"),
        *("a.\xb2", "a.\u0661", "a.\x00", "a.1\n", "a." + "1" * 19, "a." + "9" * 10_000),
    ],
)
def test_what_is_no_event_id(text: str) -> None:
    assert sse.parse_event_id(text) is None


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_may_come_as_an_event_id(text: str) -> None:
    parsed = sse.parse_event_id(text)
    assert parsed is None or (parsed[0] and parsed[1] >= 0)


# Sealed ids

ID, STREAM, PLACE = "A" * 32, "0123456789abcdef", {"endpoint": "/mcp", "owner": "ada"}
SEALED = sse.Sealed(ID, STREAM)


def opened(prefix: str, **place: str) -> sse.Sealed | None:
    return sse.unseal(prefix, **{**PLACE, **place})


def raw(prefix: str) -> bytes:
    return base64.urlsafe_b64decode(prefix + "=" * (-len(prefix) % 4))


def wrap(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def test_a_sealed_id_opens_its_session() -> None:
    prefix = sse.seal(SEALED, **PLACE)
    assert opened(prefix) == SEALED
    assert sse.parse_event_id(sse.event_id(prefix, 7)) == (prefix, 7)


@given(NAMES, NAMES, st.just("") | NAMES, st.text(), st.text())
def test_any_session_may_be_sealed(
    session_id: str, stream: str, named: str, endpoint: str, owner: str
) -> None:
    place, sealed = {"endpoint": endpoint, "owner": owner}, sse.Sealed(session_id, stream, named)
    assert sse.unseal(sse.seal(sealed, **place), **place) == sealed
    assert repr(sealed) == f"Sealed(stream={stream!r})"


def test_it_says_nothing_by_itself_and_is_never_the_same() -> None:
    first, second = sse.seal(SEALED, **PLACE), sse.seal(SEALED, **PLACE)
    assert first != second
    for prefix in (first, second):
        assert ID.encode() not in raw(prefix) and STREAM.encode() not in raw(prefix)
        assert sse.frame("a", id=f"{prefix}.1").count(b"\n") == 3


@pytest.mark.parametrize(
    "place", [{"endpoint": "/other"}, {"endpoint": ""}, {"owner": "eve"}, {"owner": ""}, {"owner": "ada "}]
)
def test_it_opens_nothing_elsewhere_and_to_nobody_else(place: dict[str, str]) -> None:
    assert opened(sse.seal(SEALED, **PLACE), **place) is None


def test_every_bit_counts() -> None:
    sealed = raw(sse.seal(SEALED, **PLACE))
    for place in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[place] ^= 1 << bit
            assert opened(wrap(bytes(changed))) is None
    for length in range(len(sealed)):
        assert opened(wrap(sealed[:length])) is None
    assert opened(wrap(sealed + b"\0")) is None


@given(st.text(st.characters(exclude_categories=())) | st.binary().map(wrap))
def test_nothing_else_opens(text: str) -> None:
    assert opened(text) is None


@given(st.data())
def test_two_seals_cannot_be_put_together(data: st.DataObject) -> None:
    first, second = raw(sse.seal(SEALED, **PLACE)), raw(sse.seal(sse.Sealed("B" * 32, STREAM), **PLACE))
    cut = data.draw(st.integers(1, len(first) - 1))
    mixed = first[:cut] + second[cut:]
    # Once in 256 times each they begin, or end, with the same byte.
    assert opened(wrap(mixed)) is None or mixed in (first, second)


def test_a_changed_secret_key_is_honoured_as_a_fallback(settings: Any) -> None:
    prefix = sse.seal(SEALED, **PLACE)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another key that is long enough to be one, surely"
    assert opened(prefix) is None
    settings.SECRET_KEY_FALLBACKS = ["a third", old]
    assert opened(prefix) == SEALED
    fresh = sse.seal(SEALED, **PLACE)
    settings.SECRET_KEY_FALLBACKS = []
    assert (opened(prefix), opened(fresh)) == (None, SEALED)
