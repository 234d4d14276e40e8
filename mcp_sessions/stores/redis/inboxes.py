"""The verbs on sessions' inboxes, and on news."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.records import EndReason, Mail
from mcp_sessions.stores.redis.values import text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, chunks, do, flat, verb


class InboxVerbs(RunsSteps):
    @verb
    def ask(self, key: str, question: str, until: datetime, limit: int | None) -> Steps[bool]:
        answer = yield from ask(self, "ask", key, question, until, limit)
        if answer is None:
            raise SessionEnded("The session has ended: its client is asked nothing.")
        return bool(answer)

    @verb
    def unask(self, key: str, question: str) -> Steps[None]:
        yield from ask(self, "unask", key, question)

    @verb
    def post(self, key: str, message: str, question: str = "", *, answers: bool = False) -> Steps[bool]:
        return bool((yield from do(self, "post", key, message, question, answers)))

    @verb
    def read_inboxes(self, positions: Mapping[str, int]) -> Steps[Mapping[str, Mail]]:
        found: dict[str, Mail] = {}
        for some in chunks(positions.items()):
            mail = yield from ask(self, "read_inboxes", *flat(some))
            found.update((text(key), _mail(reason, messages)) for key, reason, messages in mail)
        return found


class NewsVerbs(RunsSteps):
    @verb
    def notify(self, names: Sequence[str]) -> Steps[None]:
        yield from do(self, "notify", *names)

    @verb
    def news(self, after: int) -> Steps[Sequence[tuple[int, Sequence[str]]]]:
        found = yield from ask(self, "news", after)
        return [(number, text(names).split(" ")) for number, names in found]

    @verb
    def first_news(self, since: datetime) -> Steps[int]:
        return int((yield from ask(self, "first_news", since)))


def _mail(reason: bytes | None, messages: Sequence[Any]) -> Mail:
    if reason == b"gone":
        # It had ended before it was purged, unnoticed.
        return Mail(end_reason=EndReason.EXPIRED)
    told = tuple((position, text(message)) for position, message in messages)
    return Mail(told, None if reason is None else text(reason))
