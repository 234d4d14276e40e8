"""Work that a transaction asked for is done after its commit, and never disturbs that commit.

An exception in a commit hook comes out of the commit itself: the view fails although its data is saved,
and the hooks behind it are not called. So what fails here is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.exceptions import SessionNotFound
from mcp_sessions.runtime import Phase, Runtime, check_blockable, current, run_sync, submit

Work = Callable[[], Coroutine[Any, Any, object]]

WAIT_SECONDS: Final = 2.0
"""How long a commit waits. Then the work goes on in the background, and no other commit waits meanwhile."""
MAX_WAITING: Final = 1000
"""Work that may be under way at once; past it what comes is given up."""
STOP_SECONDS: Final = 5.0
"""How long a stopping process waits for it."""

logger = logging.getLogger("mcp_sessions.messages")


def after_commit(what: str, work: Work) -> None:
    """Do the work now; inside a transaction, of any database, when that commits.

    Outside of a transaction it raises what the work raises. `what` it is says the log line.
    """
    check_blockable()
    if (connection := _open_transaction()) is None:
        run_sync(work())
    else:
        connection.on_commit(partial(_committed, what, work, frozenset({connection.alias})))


def in_background_after_commit(what: str, work: Work) -> None:
    """The same for code that must not be disturbed: it raises nothing, and waits WAIT_SECONDS at most."""
    _committed(what, work, frozenset())


def _open_transaction(but: frozenset[str] = frozenset()) -> BaseDatabaseWrapper | None:
    """The connection of a transaction that this thread is in."""
    used = [each for each in connections.all(initialized_only=True) if each.alias not in but]
    return next((each for each in used if is_in_transaction(each)), None)


def is_in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Also one that was begun by switching autocommit off, for which Django has no hooks and says so."""
    is_manual = connection.connection is not None and not connection.autocommit
    return connection.in_atomic_block or is_manual


def _committed(what: str, work: Work, committed: frozenset[str]) -> None:
    """One transaction has committed: wait for the next one around it, or do the work."""
    # By name, and not by whether it is open: Django's TestCase calls these hooks in a transaction of its own.
    if (connection := _open_transaction(committed)) is not None:
        connection.on_commit(partial(_committed, what, work, committed | {connection.alias}))
        return
    try:
        current().service(AfterCommit).do(what, work)
    except Exception:
        logger.exception("not sent: %s", what)


class AfterCommit:
    """The work of commits that is under way."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: set[Future[None]] = set()
        self._is_late = False
        runtime.at_shutdown(Phase.DRAIN, self._stop)

    def do(self, what: str, work: Work) -> None:
        if len(self._waiting) >= MAX_WAITING:
            logger.error("not sent, %d others wait to be sent: %s", MAX_WAITING, what)
            return
        doing = submit(_do(what, work))
        self._waiting.add(doing)
        doing.add_done_callback(self._done)
        if self._is_late or self._runtime.is_here:
            return
        try:
            doing.result(WAIT_SECONDS)
        except TimeoutError:
            self._is_late = True
            logger.warning("%s: not sent within %s seconds, it is sent in the background", what, WAIT_SECONDS)

    def _done(self, doing: Future[None]) -> None:
        self._waiting.discard(doing)
        self._is_late = self._is_late and bool(self._waiting)

    async def _stop(self) -> None:
        if waiting := [asyncio.wrap_future(doing) for doing in list(self._waiting)]:
            _, late = await asyncio.wait(waiting, timeout=STOP_SECONDS)
            if late:
                logger.error("stopping, %d messages of commits were not sent", len(late))


async def _do(what: str, work: Work) -> None:
    try:
        await work()
    except SessionNotFound:
        logger.warning("%s: not sent, the session is not there or has ended", what)
    except Exception:
        logger.exception("not sent: %s", what)
