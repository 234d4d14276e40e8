"""The verbs on sessions' inboxes, and on news."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from mcp_sessions.records import EndReason, Mail
from mcp_sessions.stores.redis.values import text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, chunks, do, flat, verb


class InboxVerbs(RunsSteps):
    @verb
    def post(self, key: str, message: str) -> Steps[bool]:
        return bool((yield from do(self, "post", key, message)))

    @verb
    def read_inboxes(self, positions: Mapping[str, int]) -> Steps[Mapping[str, Mail]]:
        found: dict[str, Mail] = {}
        for some in chunks(positions.items()):
            mail = yield from ask(self, "read_inboxes", *flat(some))
            found.update((text(key), _mail(reason, messages)) for key, reason, messages in mail)
        return found


class NewsVerbs(RunsSteps):
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
