"""A batch of a simulated client: several calls in one request, whose events come on one stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.soak.attempt import Attempt, asked
from tests.soak.link import Link
from tests.soak.model import CallSeen, Violation
from tests.soak.schedule import Call


class BatchAttempt(Attempt):
    """Over with an answer to each of its calls."""

    def __init__(self, link: Link, calls: Sequence[Call], route: Iterator[int], cuts: Iterator[int]) -> None:
        super().__init__(link, calls[0], route, cuts)
        others = [asked(link, call, f"worker {self.worker}") for call in calls[1:]]
        self._request = [self._request, *(request for request, _ in others)]
        self._of_request: dict[str, CallSeen] = {
            seen.request_id: seen for seen in (self.seen, *(seen for _, seen in others))
        }

    @property
    def is_over(self) -> bool:
        return self.seen.refusal is not None or all(seen.is_over for seen in self._of_request.values())

    def judge(self) -> Iterator[Violation]:
        for seen in self._of_request.values():
            seen.refusal = seen.refusal or (None if seen.answers else self.seen.refusal)
            yield from seen.judge(self.excuses)

    def _take_body(self, body: Any) -> None:
        for message in body:
            self._notice(message)

    def _see(self, message: Mapping[str, Any]) -> None:
        """An answer names its request, a progress its token, which is the request's id too."""
        about = message.get("params", {}).get("progressToken", message.get("id"))
        self._of_request.get(str(about), self.seen).take(message)
