"""Background work: what a process does beside its requests. There are two kinds.

`Periodic` work runs every so often. `Coalesced` work runs soon, once for all callers that request it.
Both follow the same rules:

- Errors. A run that fails is logged once, and so is the first that succeeds again. It is retried after a
  pause, which grows from RETRY_SECONDS to MAX_RETRY_SECONDS. No work stops because another fails.
- Shutdown. Work that has a phase (`runtime.Phase`) is finished in that phase, within STOP_SECONDS, or a log
  line says what is lost. All other work is cancelled after the last phase: it loses nothing.
- Context. A run belongs to no request: it has neither its context variables nor its session in log lines.
- Tests wait for `next_run()`, or for `flush()`.

A loop that serves one connection or one call, such as the reader of a stream, is no background work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Final

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.isolation import isolated
from mcp_sessions.runtime import Phase, Runtime

RETRY_SECONDS: Final = 1.0
"""Between a run that failed and the next; after each further failure twice as long."""
MAX_RETRY_SECONDS: Final = 4.0
STOP_SECONDS: Final = 5.0
"""A stopping process waits so long for each work that is to be finished."""

logger = logging.getLogger("mcp_sessions.background")


class Outage:
    """Works that fail now: the first failure of each type is logged, and that all of them succeed again."""

    def __init__(self, name: str, expected: type[Exception] = StoreUnavailable) -> None:
        """Errors that are `expected` are logged without a traceback."""
        self._name = name
        self._expected = expected
        self._failing: set[object] = set()
        self._logged: set[type[Exception]] = set()

    def add(self, work: object, error: Exception) -> None:
        """A run of the work failed."""
        self._failing.add(work)
        if type(error) in self._logged:
            return
        self._logged.add(type(error))
        text = "background work '%s' fails and is retried: %s"
        if isinstance(error, self._expected):
            logger.warning(text, self._name, str(error) or repr(error))
        else:
            logger.error(text, self._name, repr(error), exc_info=error)

    def end(self, work: object) -> None:
        """A run of the work succeeded."""
        if self.discard(work):
            logger.info("background work '%s' succeeds again", self._name)

    def discard(self, work: object) -> bool:
        """The work is not retried any more. Returns whether it was the last that failed."""
        if work not in self._failing:
            return False
        self._failing.remove(work)
        if not self._failing:
            self._logged.clear()
        return not self._failing


class Coalesced:
    """Work that runs soon after a request, once for all requests until then.

    What is requested during a run is done by one more run. All methods are called on the runtime's loop.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        work: Callable[[], Awaitable[object]],
        *,
        finish_in: Phase | None = None,
        unfinished: Callable[[], object] | None = None,
        outage: Outage | None = None,
    ) -> None:
        """`unfinished` says in a log line what is lost if the work cannot be finished when the process stops.

        Works that share an `outage` log it once.
        """
        self._runtime = runtime
        self._name = name
        self._work = work
        self._unfinished = unfinished
        self._outage = outage or Outage(name)
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = self._is_failing = False
        self._retry_seconds = RETRY_SECONDS
        self._next_end: asyncio.Future[None] | None = None
        if finish_in is not None:
            runtime.at_shutdown(finish_in, self._finish)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, and nothing was requested."""
        return self._task is None and self._timer is None

    @property
    def is_failing(self) -> bool:
        """Whether the last run failed."""
        return self._is_failing

    def request(self, within: float = 0.0) -> None:
        """Run within so many seconds; while it fails, at the next attempt."""
        if self._timer is not None and self._is_failing:
            return
        if within > 0:
            self._begin_within(within)
        else:
            self._begin()

    async def run(self) -> None:
        """Run now, and wait for the end of that run, even of one that fails."""
        ended = self._get_next_end()
        while not ended.done():
            # Again after a failure of the run that was under way: it leaves what was requested to a retry.
            self._begin()
            if self._task is None or self._runtime.is_over:
                return
            await asyncio.wait({ended, self._task}, return_when=asyncio.FIRST_COMPLETED)

    async def next_run(self) -> None:
        """Wait for the end of a run that begins after this call."""
        await asyncio.shield(self._get_next_end())

    async def flush(self) -> None:
        """Wait until nothing is left to do. While the work fails, this takes until it succeeds."""
        while not self.is_idle:
            if self._task is not None:
                await asyncio.wait({self._task})
            elif self._is_failing:
                await self.next_run()
            else:
                self._begin()

    def cancel(self) -> None:
        """Forget what was requested; a run that is under way goes on to its end."""
        self._is_due = False
        self._clear_timer()

    def _begin(self) -> None:
        self._clear_timer()
        if self._runtime.is_over:
            return
        self._is_due = True
        if self._task is None:
            self._task = self._runtime.spawn(self._run(), self._name, Context())

    def _begin_within(self, seconds: float) -> None:
        at = self._runtime.loop.time() + seconds
        if self._timer is not None and self._timer.when() <= at:
            return
        self._clear_timer()
        self._timer = self._runtime.loop.call_at(at, self._begin, context=Context())

    def _clear_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _run(self) -> None:
        try:
            while self._is_due:
                self._is_due = False
                await self._run_once()
        finally:
            self._task = None

    async def _run_once(self) -> None:
        ended, self._next_end = self._next_end, None
        try:
            await isolated(self._work())
        except Exception as error:
            # The retry does what was requested meanwhile.
            self._is_due = False
            self._clear_timer()
            self._is_failing = True
            self._outage.add(self, error)
        else:
            self._is_failing = False
            self._retry_seconds = RETRY_SECONDS
            self._outage.end(self)
        finally:
            if ended is not None and not ended.done():
                ended.set_result(None)
        if (pause := self._get_pause()) is not None:
            self._begin_within(pause)

    def _get_pause(self) -> float | None:
        """Seconds after which the work runs again without a request."""
        if not self._is_failing:
            return None
        pause, self._retry_seconds = self._retry_seconds, min(2 * self._retry_seconds, MAX_RETRY_SECONDS)
        return pause

    def _get_next_end(self) -> asyncio.Future[None]:
        if self._next_end is None:
            self._next_end = self._runtime.loop.create_future()
        return self._next_end

    async def _finish(self) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.flush()
        except TimeoutError:
            what = self._unfinished() if self._unfinished else self._name
            logger.error("the process stops, and this is not done: %s", what)


class Periodic(Coalesced):
    """Work that runs every so often, from start() on. request() has it run sooner.

    `pause` gives the seconds between the end of a run and the next. With `while_needed`, the work rests
    once that is false, until it is started again.
    """

    def __init__(
        self,
        runtime: Runtime,
        name: str,
        work: Callable[[], Awaitable[object]],
        pause: Callable[[], float],
        *,
        while_needed: Callable[[], object] = lambda: True,
        finish_in: Phase | None = None,
        outage: Outage | None = None,
    ) -> None:
        super().__init__(runtime, name, work, finish_in=finish_in, outage=outage)
        self._pause = pause
        self._pause_outage = Outage(f"{name}: pause")
        self._is_needed = while_needed
        self._is_started = False

    def start(self, within: float | None = None) -> None:
        """Run every so often from now on, the first time within so many seconds, else after a pause."""
        if not self._is_started:
            self._is_started = True
            self._begin_within(self._get_seconds() if within is None else within)

    def stop(self) -> None:
        """Begin no further run, unless the work is started again."""
        self._is_started = self._is_failing = False
        self.cancel()
        self._outage.discard(self)

    def _begin(self) -> None:
        if self._is_needed():
            super()._begin()
        else:
            self.stop()

    def _get_pause(self) -> float | None:
        retry = super()._get_pause()
        if not self._is_started:
            return None
        return self._get_seconds() if retry is None else max(self._get_seconds(), retry)

    def _get_seconds(self) -> float:
        """The pause as its function gives it. Work whose pause is unknown goes on all the same."""
        try:
            seconds = self._pause()
        except Exception as error:
            self._pause_outage.add(self, error)
            return MAX_RETRY_SECONDS
        self._pause_outage.end(self)
        return seconds

    async def _finish(self) -> None:
        self.stop()
        await super()._finish()
