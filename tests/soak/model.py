"""What a client must see: observations go in, violations come out. No time and no connection in here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from tests.harness.wire import is_response

Number = tuple[str, int]
"""A numbered message: who sent it, and which of his it is."""
GONE: Final = "session gone"
"""How a refusal begins that says that the session has ended."""


class Kind(StrEnum):
    LOST = "lost"
    DOUBLED = "doubled"
    HANGING = "hanging"
    OUT_OF_ORDER = "out of order"
    WRONG = "wrong"


@dataclass(frozen=True)
class Violation:
    kind: Kind
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind.upper()} {self.who}: {self.what}"


@dataclass(frozen=True)
class Excuses:
    """What happened to a call from outside, and so what else but its result it may end in."""

    worker_was_hit: bool = False
    was_cancelled: bool = False
    session_has_ended: bool = False

    def cover(self, reason: object) -> bool:
        known = {
            "worker_lost": self.worker_was_hit,
            "cancelled": self.was_cancelled,
            "session_ended": self.session_has_ended,
        }
        return known.get(str(reason), False)


@dataclass
class CallSeen:
    """Everything a client saw of one call, over all its connections."""

    who: str
    request_id: str
    count: int
    """Numbered events that come before the result."""
    expected: str
    """The result."""
    numbers: list[int] = field(default_factory=list)
    questions: list[object] = field(default_factory=list)
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    strange: list[Any] = field(default_factory=list)
    refusal: str | None = None
    """What a worker said that would not have the client, instead of an answer."""

    @property
    def is_over(self) -> bool:
        return bool(self.answers) or self.refusal is not None

    def take(self, message: Mapping[str, Any]) -> None:
        if is_response(message):
            self.answers.append(message)
        elif message.get("method") == "notifications/progress":
            self.numbers.append(int(message["params"]["progress"]))
        elif "id" in message:
            self.questions.append(message["id"])
        elif message.get("method") != "notifications/cancelled":  # a question that is withdrawn
            self.strange.append(message)

    def judge(self, excuses: Excuses) -> Iterator[Violation]:
        has_result = any("result" in answer for answer in self.answers)
        yield from judge_numbers(self.who, self.numbers, self.count if has_result else None)
        for message in self.strange:
            yield Violation(Kind.WRONG, self.who, f"did not ask for {message}")
        if len(self.questions) > len(set(self.questions)):
            yield Violation(Kind.DOUBLED, self.who, f"was asked the same twice: {self.questions}")
        if len(self.answers) > 1:
            yield Violation(Kind.DOUBLED, self.who, f"has {len(self.answers)} answers: {self.answers}")
        if not self.answers:
            yield from self._judge_silence(excuses)
        for answer in self.answers[:1]:
            yield from self._judge_answer(answer, excuses)

    def _judge_silence(self, excuses: Excuses) -> Iterator[Violation]:
        if self.refusal is None:
            yield Violation(Kind.HANGING, self.who, f"no answer; seen: {self.numbers} {self.questions}")
        elif not (excuses.session_has_ended and self.refusal.startswith(GONE)):
            yield Violation(Kind.LOST, self.who, f"was refused: {self.refusal}")

    def _judge_answer(self, answer: Mapping[str, Any], excuses: Excuses) -> Iterator[Violation]:
        if answer.get("id") != self.request_id:
            yield Violation(Kind.WRONG, self.who, f"was answered with another id: {answer}")
        if "error" in answer:
            reason = (answer["error"].get("data") or {}).get("reason")
            if not excuses.cover(reason):
                kind = Kind.LOST if reason == "worker_lost" else Kind.WRONG
                yield Violation(kind, self.who, f"ended without a cause in {answer['error']}")
        elif (text := _text_of(answer["result"])) != self.expected:
            yield Violation(Kind.WRONG, self.who, f"resulted in {text!r} and not in {self.expected!r}")


@dataclass
class MessagesSeen:
    """The numbered messages to one session, over all its GET streams."""

    who: str
    sent: dict[str, int] = field(default_factory=dict)
    """Who sent them → how many are known to be sent."""
    tried: dict[str, int] = field(default_factory=dict)
    """Who sent them → how many there may be: the sender died on the way."""
    seen: list[tuple[int, Number]] = field(default_factory=list)
    """(stream, message) in the order in which they came."""

    def missing(self) -> list[Number]:
        come = {message for _, message in self.seen}
        due = [(who, number) for who, count in self.sent.items() for number in range(1, count + 1)]
        return [message for message in due if message not in come]

    def judge(self) -> Iterator[Violation]:
        if missing := self.missing():
            yield Violation(Kind.LOST, self.who, f"{len(missing)} messages did not come: {missing}")
        times = Counter(message for _, message in self.seen)
        for message, count in times.items():
            if count > 1:
                where = [stream for stream, each in self.seen if each == message]
                yield Violation(Kind.DOUBLED, self.who, f"{message} came on the streams {where}")
            if not 0 < message[1] <= max(self.sent.get(message[0], 0), self.tried.get(message[0], 0)):
                yield Violation(Kind.WRONG, self.who, f"nobody sent {message}")
        for stream, sender in sorted({(stream, sender) for stream, (sender, _) in self.seen}):
            numbers = [n for at, (of, n) in self.seen if (at, of) == (stream, sender)]
            if (first := list(dict.fromkeys(numbers))) != sorted(first):
                what = f"{sender} on stream {stream}: {numbers}"
                yield Violation(Kind.OUT_OF_ORDER, self.who, what)


def judge_numbers(who: str, numbers: Sequence[int], count: int | None) -> Iterator[Violation]:
    """1 to count, each once and in order; without a count, what came of them must have no gap."""
    first = list(dict.fromkeys(numbers))
    if doubled := sorted(number for number, times in Counter(numbers).items() if times > 1):
        yield Violation(Kind.DOUBLED, who, f"{doubled} in {numbers}")
    last = max(first, default=0) if count is None else count
    if missing := [number for number in range(1, last + 1) if number not in first]:
        yield Violation(Kind.LOST, who, f"{missing} of {last} in {numbers}")
    if first != sorted(first):
        yield Violation(Kind.OUT_OF_ORDER, who, f"{numbers}")
    if unknown := [number for number in first if not 1 <= number <= last]:
        yield Violation(Kind.WRONG, who, f"{unknown} of {last} in {numbers}")


def judge_replay(who: str, first: Sequence[Any], again: Sequence[Any]) -> Iterator[Violation]:
    """A stream that is read once more must be what it was."""
    if missing := [event for event in first if event not in again]:
        yield Violation(Kind.LOST, who, f"not there any more when read again: {missing}")
    if added := [event for event in again if event not in first]:
        yield Violation(Kind.WRONG, who, f"was not there when read first: {added}")
    if len(again) > len(dict.fromkeys(again)):
        yield Violation(Kind.DOUBLED, who, f"doubled when read again: {again}")
    kept = [event for event in dict.fromkeys(again) if event in first]
    if kept != [event for event in dict.fromkeys(first) if event in again]:
        yield Violation(Kind.OUT_OF_ORDER, who, f"read first {first}, then {again}")


def _text_of(result: Mapping[str, Any]) -> str:
    return "".join(block.get("text", "") for block in result.get("content", []))
