"""What has changed, for every process that shares the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from mcp_sessions.stores.redis.values import text
from mcp_sessions.stores.redis.verbs import RunsSteps, Steps, ask, do, verb


class ChangeVerbs(RunsSteps):
    @verb
    def notify(self, names: Sequence[str]) -> Steps[None]:
        yield from do(self, "notify", *names)

    @verb
    def changes(self, after: int) -> Steps[Sequence[tuple[int, Sequence[str]]]]:
        found = yield from ask(self, "changes", after)
        return [(number, text(names).split(" ")) for number, names in found]

    @verb
    def last_change(self, before: datetime) -> Steps[int]:
        return int((yield from ask(self, "last_change", before)))
