"""A repeated failure is logged once with its traceback, and then counted."""

from __future__ import annotations

import logging
from collections import Counter

Failure = tuple[str, type[BaseException]]


class Failures:
    """Errors by what failed and their type. A count is logged when it has ten times as many as before."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._counts: Counter[Failure] = Counter()

    def add(self, what: str, error: BaseException, when: str, extra: dict[str, str]) -> None:
        """`what` failed; `when` says the first line, and no other."""
        failure = what, type(error)
        self._counts[failure] += 1
        count = self._counts[failure]
        if count == 1:
            self._logger.error("%s: %s failed", when, what, exc_info=error, extra=extra)
        elif is_power_of_ten(count):
            self._logger.error("%s has failed %d times: %r", what, count, error, extra=extra)


def is_power_of_ten(count: int) -> bool:
    """Whether a line is due for what has happened so often."""
    return set(str(count)[1:]) <= {"0"} and str(count)[0] == "1"
