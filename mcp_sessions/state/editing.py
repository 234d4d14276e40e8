"""edit(): a read-modify-write as a block, in synchronous and in asynchronous code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

from mcp_sessions.exceptions import MCPSessionsError, NestedEdit
from mcp_sessions.runtime import run, run_sync
from mcp_sessions.state.leases import Lease

ASYNC_WITH: Final = "Use `async with session.edit()`."

_edits: ContextVar[frozenset[Edit]] = ContextVar("mcp_sessions_edits", default=frozenset())


class Edit:
    """What SessionState.edit() gives: `async with` it, or `with` it off the event loop.

    Either way the data is leased, renewed and given back on the runtime's loop.
    """

    def __init__(
        self, key: str, has_written: Callable[[dict[str, Any]], None], instead: str = ASYNC_WITH
    ) -> None:
        self._key = key
        self._instead = instead
        self._has_written = has_written
        self._is_over = False
        self._data: dict[str, Any] = {}

    async def __aenter__(self) -> dict[str, Any]:
        self._refuse_nesting()
        self._lease = Lease(self._key)
        try:
            self._data = await run(self._lease.take())
        except BaseException:
            self._lease.abandon()
            raise
        return self._enter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._leave()
        if error is None:
            await run(self._lease.give_back(self._data))
            self._has_written(self._data)
        else:
            # What went wrong inside is what the caller is to see, also if the session has ended.
            with suppress(MCPSessionsError):
                await run(self._lease.give_back(None))

    def __enter__(self) -> dict[str, Any]:
        self._refuse_nesting()
        self._lease = Lease(self._key)
        try:
            self._data = run_sync(self._lease.take(), self._instead)
        except BaseException:
            # A signal, for instance Celery's soft time limit, comes while this waits.
            self._lease.abandon()
            raise
        return self._enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._leave()
        if error is None:
            run_sync(self._lease.give_back(self._data))
            self._has_written(self._data)
        else:
            with suppress(MCPSessionsError):
                run_sync(self._lease.give_back(None))

    def _refuse_nesting(self) -> None:
        """The one inside would wait for the one outside, which waits for it."""
        if any(edit._key == self._key for edit in _unfinished()):
            raise NestedEdit(f"edit() of session {self._key} inside edit() of the same session.")

    def _enter(self) -> dict[str, Any]:
        self._is_over = False
        _edits.set(_unfinished() | {self})
        return self._data

    def _leave(self) -> None:
        # Tasks and threads that were started inside have copies of the context: they see that it is over.
        self._is_over = True
        _edits.set(_unfinished())


def _unfinished() -> frozenset[Edit]:
    """The edits that the running code is inside of."""
    return frozenset(edit for edit in _edits.get() if not edit._is_over)
