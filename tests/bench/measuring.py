"""How long a thing takes, and how many queries it makes, on whichever connection."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from tests.bench.table import Row, seconds

ENOUGH_SECONDS: Final = 6.0
"""What takes so long, taken together, is not done again."""


class Absent(Exception):
    """Raised by a step for something that this checkout does not have."""


@dataclass(frozen=True)
class Step:
    """`do` says in a few words what came of it."""

    name: str
    do: Callable[[], str]
    once: bool = False
    """Whether a second time would be something else."""


@dataclass(frozen=True)
class Measured:
    name: str
    seconds: float | None
    """The median; None: it could not be done, and `said` tells why."""
    queries: int = 0
    said: str = ""

    @property
    def row(self) -> Row:
        if self.seconds is None:
            return self.name, "-", "-", self.said
        return self.name, seconds(self.seconds), str(self.queries), self.said


class Queries:
    """Counts statements on every connection of the process that is opened from now on."""

    def __init__(self) -> None:
        self.count = 0
        connection_created.connect(self._watch, weak=False)

    def _watch(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        if self._counted not in connection.execute_wrappers:
            connection.execute_wrappers.append(self._counted)

    def _counted(self, execute: Callable[..., Any], *args: Any) -> Any:
        self.count += 1
        return execute(*args)


def measure(step: Step, queries: Queries, runs: int) -> Measured:
    """The median of a few runs: other work on the machine spoils one of them, not most."""
    taken: list[float] = []
    while len(taken) < (1 if step.once else runs) and sum(taken) < ENOUGH_SECONDS:
        before, began = queries.count, time.perf_counter()
        try:
            said = step.do()
        except Absent as absent:
            return Measured(step.name, None, said=str(absent))
        taken.append(time.perf_counter() - began)
    return Measured(step.name, statistics.median(taken), queries.count - before, said)


@contextmanager
def transactions() -> Iterator[list[float]]:
    """How long each transaction of this process took, in seconds."""
    lengths: list[float] = []
    set_autocommit: Callable[..., None] = BaseDatabaseWrapper.set_autocommit

    def watched(connection: Any, autocommit: bool, *args: Any, **named: Any) -> None:
        set_autocommit(connection, autocommit, *args, **named)
        if autocommit:
            if (began := vars(connection).pop("began", None)) is not None:
                lengths.append(time.perf_counter() - began)
        else:
            connection.began = time.perf_counter()

    BaseDatabaseWrapper.set_autocommit = watched  # type: ignore[method-assign]
    try:
        yield lengths
    finally:
        BaseDatabaseWrapper.set_autocommit = set_autocommit  # type: ignore[method-assign]
