"""The model alone: what was observed, and the verdict on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.soak.model import (
    GONE,
    CallSeen,
    Excuses,
    Kind,
    MessagesSeen,
    judge_replay,
)

COUNTS = st.integers(min_value=2, max_value=12)
LOST = Excuses(worker_was_hit=True)
EVERY_EXCUSE = Excuses(worker_was_hit=True, was_cancelled=True, session_has_ended=True)


def progress(number: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": number}}


def question(number: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": f"q{number}", "method": "elicitation/create", "params": {}}


def result(text: str = "word", request_id: str = "1") -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "result": {"content": [{"type": "text", "text": text}]}}


def error(reason: str | None) -> dict[str, Any]:
    told = {"code": -32603, "message": "", "data": {"reason": reason}}
    return {"jsonrpc": "2.0", "id": "1", "error": told}


def call(count: int, messages: Sequence[Mapping[str, Any]]) -> CallSeen:
    seen = CallSeen("a call", "1", count, "word")
    for message in messages:
        seen.take(message)
    return seen


def kinds(seen: CallSeen, excuses: Excuses = Excuses()) -> set[Kind]:  # noqa: B008 - frozen
    return {violation.kind for violation in seen.judge(excuses)}


def numbers(count: int) -> list[dict[str, Any]]:
    return [progress(number) for number in range(1, count + 1)]


# -- calls -----------------------------------------------------------------------------------


@given(COUNTS)
def test_all_in_order_and_the_result_is_as_it_must_be(count: int) -> None:
    assert not kinds(call(count, [*numbers(count), question(1), result()]))


@given(COUNTS, st.data())
def test_an_event_that_did_not_come_is_lost(count: int, data: st.DataObject) -> None:
    events = numbers(count)
    del events[data.draw(st.integers(0, count - 1))]
    assert kinds(call(count, [*events, result()]), EVERY_EXCUSE) == {Kind.LOST}


@given(COUNTS, st.data())
def test_an_event_that_came_again_is_doubled(count: int, data: st.DataObject) -> None:
    events = numbers(count)
    which = data.draw(st.integers(0, count - 1))
    events.insert(data.draw(st.integers(which + 1, count)), events[which])
    assert kinds(call(count, [*events, result()]), EVERY_EXCUSE) == {Kind.DOUBLED}


@given(COUNTS, st.data())
def test_events_that_changed_places_are_out_of_order(count: int, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(1, count + 1)))
    found = kinds(call(count, [*(progress(number) for number in order), result()]), EVERY_EXCUSE)
    assert found == (set() if order == sorted(order) else {Kind.OUT_OF_ORDER})


@given(COUNTS, st.integers(0, 12))
def test_what_died_with_its_worker_may_have_come_so_far_and_no_farther(count: int, come: int) -> None:
    begun = call(count, [*numbers(min(come, count)), error("worker_lost")])
    assert not kinds(begun, LOST)
    assert kinds(begun) == {Kind.LOST}


@given(COUNTS, st.data())
def test_a_gap_is_one_however_the_call_ended(count: int, data: st.DataObject) -> None:
    events = numbers(count)
    del events[data.draw(st.integers(0, count - 2))]
    assert Kind.LOST in kinds(call(count, [*events, error("worker_lost")]), LOST)


@given(st.sampled_from(["worker_lost", "cancelled", "session_ended"]), st.booleans(), st.booleans())
def test_an_end_needs_its_own_excuse(reason: str, was_cancelled: bool, has_ended: bool) -> None:
    excuses = Excuses(was_cancelled=was_cancelled, session_has_ended=has_ended)
    covered = {"worker_lost": False, "cancelled": was_cancelled, "session_ended": has_ended}[reason]
    assert bool(kinds(call(0, [error(reason)]), excuses)) is not covered


def test_no_excuse_covers_an_error_of_the_server() -> None:
    assert kinds(call(0, [error(None)]), EVERY_EXCUSE) == {Kind.WRONG}
    assert kinds(call(0, [error("out of luck")]), EVERY_EXCUSE) == {Kind.WRONG}


@given(COUNTS)
def test_no_answer_is_a_hanging_call(count: int) -> None:
    assert kinds(call(count, numbers(count)), EVERY_EXCUSE) == {Kind.HANGING}


def test_two_answers_are_doubled_even_if_one_is_an_error() -> None:
    assert kinds(call(0, [result(), result()])) == {Kind.DOUBLED}
    assert kinds(call(0, [error("worker_lost"), result()]), LOST) == {Kind.DOUBLED}


def test_the_same_question_twice_is_doubled() -> None:
    assert kinds(call(0, [question(1), question(1), result()])) == {Kind.DOUBLED}


def test_somebody_elses_answer_is_wrong() -> None:
    assert kinds(call(0, [result(request_id="2")])) == {Kind.WRONG}
    assert kinds(call(0, [result("another word")])) == {Kind.WRONG}


def test_a_session_may_be_gone_only_when_its_client_ended_it() -> None:
    seen = call(3, numbers(2))
    seen.refusal = f"{GONE}: 404"
    assert not kinds(seen, Excuses(session_has_ended=True))
    assert kinds(seen) == {Kind.LOST}
    seen.refusal = "400: no such event"
    assert kinds(seen, EVERY_EXCUSE) == {Kind.LOST}


def test_a_message_of_another_kind_on_a_calls_stream_is_wrong() -> None:
    stray = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {}}
    assert kinds(call(0, [stray, result()])) == {Kind.WRONG}


# -- messages to a session -------------------------------------------------------------------

SENT = {"a": 5, "b": 3}
ALL = [("a", number) for number in range(1, 6)] + [("b", number) for number in range(1, 4)]


def messages(seen: Sequence[tuple[int, tuple[str, int]]]) -> set[Kind]:
    return {violation.kind for violation in MessagesSeen("a session", dict(SENT), {}, list(seen)).judge()}


STREAMS = st.lists(st.integers(0, 1), min_size=len(ALL), max_size=len(ALL))


@given(STREAMS)
def test_each_message_once_on_any_stream_is_as_it_must_be(streams: list[int]) -> None:
    assert not messages(list(zip(streams, ALL, strict=True)))


@given(STREAMS, st.integers(0, len(ALL) - 1))
def test_a_message_on_no_stream_is_lost(streams: list[int], which: int) -> None:
    seen = list(zip(streams, ALL, strict=True))
    del seen[which]
    assert messages(seen) == {Kind.LOST}


@given(STREAMS, st.integers(0, len(ALL) - 1), st.integers(0, 1))
def test_a_message_on_two_streams_is_doubled(streams: list[int], which: int, stream: int) -> None:
    seen = list(zip(streams, ALL, strict=True))
    seen.insert(which + 1, (stream, ALL[which]))
    assert Kind.DOUBLED in messages(seen)


@given(st.permutations(ALL), STREAMS)
def test_the_order_of_one_sender_on_one_stream_counts(
    order: list[tuple[str, int]], streams: list[int]
) -> None:
    seen = list(zip(streams, order, strict=True))
    each = [
        [number for at, (of, number) in seen if (at, of) == (stream, sender)]
        for stream in (0, 1)
        for sender in SENT
    ]
    is_in_order = all(numbers == sorted(numbers) for numbers in each)
    assert messages(seen) == (set() if is_in_order else {Kind.OUT_OF_ORDER})


@given(st.integers(0, 3))
def test_a_sender_that_died_may_have_sent_a_part(come: int) -> None:
    seen = MessagesSeen("a session", {}, {"a": 3}, [(0, ("a", number + 1)) for number in range(come)])
    assert not list(seen.judge())


def test_a_message_that_nobody_sent_is_wrong() -> None:
    assert messages([*((0, each) for each in ALL), (0, ("a", 6))]) == {Kind.WRONG}
    assert messages([*((0, each) for each in ALL), (0, ("stranger", 1))]) == {Kind.WRONG}


# -- streams that are read again -------------------------------------------------------------

EVENTS = [("s.1", "one"), ("s.2", "two"), ("s.3", "three")]


def replayed(again: Sequence[tuple[str, str]]) -> set[Kind]:
    return {violation.kind for violation in judge_replay("a call", EVENTS, again)}


def test_a_replay_is_the_same_again() -> None:
    assert not replayed(EVENTS)
    assert replayed(EVENTS[:2]) == {Kind.LOST}
    assert replayed([*EVENTS, EVENTS[0]]) == {Kind.DOUBLED}
    assert replayed([EVENTS[1], EVENTS[0], EVENTS[2]]) == {Kind.OUT_OF_ORDER}
    assert replayed([*EVENTS, ("s.4", "four")]) == {Kind.WRONG}
