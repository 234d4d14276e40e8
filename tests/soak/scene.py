"""What all simulated clients share: the workers, what befell them, the figures, and patience."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from tests.harness.gate import Gate
from tests.harness.server import ServerProcess
from tests.harness.wire import ConnectionEnded, Response
from tests.soak.faults import Faults
from tests.soak.model import Violation
from tests.soak.options import WORKER_TIMEOUT, Options
from tests.soak.outside import Outside

BROKEN: Final = (OSError, ConnectionEnded, TimeoutError)
"""What a connection may end in when its worker goes, or is paused for too long."""
LINGER_SECONDS: Final = WORKER_TIMEOUT + 5.0
"""A worker that was paused may find out so late, after it goes on, that it was declared dead."""
AGAIN_SECONDS: Final = 1.0
LONGEST: Final = 5
"""Times its patience that a client waits in all, signs of life or not."""


@dataclass
class Hit:
    """A worker is down, stopping, paused or cut off, or it waits for another's locks."""

    worker: int
    lingers: bool
    is_lock: bool
    ended: float | None = None

    def is_felt(self, since: float) -> bool:
        linger = LINGER_SECONDS if self.lingers else 0
        return self.ended is None or self.ended + linger > since


class Journal:
    """What befell the workers: the excuses of clients' calls."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._hits: list[Hit] = []
        self._blackouts = 0.0
        self._blackout_since: float | None = None

    def begin(self, worker: int, *, lingers: bool, is_lock: bool = False) -> Hit:
        self._hits.append(Hit(worker, lingers, is_lock))
        self._note_blackout()
        return self._hits[-1]

    def end(self, hit: Hit) -> None:
        hit.ended = time.monotonic()
        self._note_blackout()

    @property
    def blackout_seconds(self) -> float:
        """For how long, in all, no worker was well: nobody can be expected to be served."""
        since = self._blackout_since
        return self._blackouts + (0 if since is None else time.monotonic() - since)

    def _note_blackout(self) -> None:
        self._blackouts = self.blackout_seconds
        hit = {hit.worker for hit in self._hits if hit.ended is None and not hit.is_lock}
        self._blackout_since = time.monotonic() if len(hit) == self._workers else None

    def was_hit(self, worker: int, since: float) -> bool:
        return any(not hit.is_lock for hit in self._felt(worker, since))

    def may_be_unavailable(self, worker: int, since: float) -> bool:
        """Whether it may refuse: it was hit, or it may have waited for a lock in vain."""
        return any(self._felt(worker, since))

    def _felt(self, worker: int, since: float) -> Iterator[Hit]:
        return (hit for hit in self._hits if hit.worker == worker and hit.is_felt(since))


@dataclass
class Scene:
    options: Options
    workers: Sequence[ServerProcess]
    gates: Sequence[Gate]
    outside: Outside
    faults: Faults
    diary: TextIO
    """Everything the clients did and saw, to read beside the servers' logs."""
    journal: Journal = field(init=False)
    tally: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    is_closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing new is begun any more."""

    def __post_init__(self) -> None:
        self.journal = Journal(len(self.workers))

    def patience(self, more_seconds: float = 0) -> Patience:
        return Patience(self.options.patience + more_seconds, self.journal)

    def note(self, violations: Iterable[Violation]) -> None:
        for violation in violations:
            self.violations.append(violation)
            self.write(violation.who, str(violation))

    def write(self, who: str, what: str) -> None:
        print(f"{datetime.now(UTC):%H:%M:%S.%f} {who}: {what}", file=self.diary, flush=True)

    def cut(self, response: Response, who: str) -> None:
        self.tally["cuts"] += 1
        self.write(who, "cuts its connection")
        response.cut()

    async def rest(self, seconds: float) -> None:
        """Let time pass, if there is time."""
        try:
            async with asyncio.timeout(seconds):
                await self.is_closing.wait()
        except TimeoutError:
            return


class Patience:
    """How long a client waits for something: as long as there are signs of life, within reason.

    Time in which no worker is well does not count.
    """

    def __init__(self, seconds: float, journal: Journal) -> None:
        self._seconds = seconds
        self._journal = journal
        self._gives_up_at = self._now() + LONGEST * seconds
        self.sign()

    def sign(self) -> None:
        self._last_sign = self._now()

    @property
    def remaining(self) -> float:
        return min(self._last_sign + self._seconds, self._gives_up_at) - self._now()

    def _now(self) -> float:
        return time.monotonic() - self._journal.blackout_seconds

    async def lasts(self, work: Coroutine[Any, Any, object]) -> bool:
        """Do it; False when patience ends before."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done() and self.remaining > 0:
                await asyncio.wait({task}, timeout=self.remaining)
            if task.done():
                await task
                return True
            return False
        finally:
            await cancelled(task)


async def cancelled(*tasks: asyncio.Future[Any]) -> None:
    """Cancel until it is done: before Python 3.12, wait_for() swallows a cancellation now and then."""
    while running := {task for task in tasks if not task.done()}:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_SECONDS)
