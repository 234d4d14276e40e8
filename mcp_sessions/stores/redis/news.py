"""The verbs on news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mcp_sessions.stores.redis.values import text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, do, verb


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
