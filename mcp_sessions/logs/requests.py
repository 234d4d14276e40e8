"""What is noted about a request on its way, for the one line that SESSION_DEBUG writes of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mcp_sessions.context_values import set_within
from mcp_sessions.records import SessionRecord


@dataclass(slots=True)
class Trace:
    """A request, as far as it came: `named_by` is where it named its session, `reason` why it failed."""

    named_by: str = ""
    session: SessionRecord | None = None
    messages: Sequence[object] = ()
    reason: str = ""


_trace: ContextVar[Trace | None] = ContextVar("mcp_request_of_lines", default=None)


def tracing() -> AbstractContextManager[Trace]:
    """Have note() keep what becomes of the request that is served inside."""
    return set_within(_trace, Trace())


def note(**known: Any) -> None:
    """Add to the trace of this request, if there is one. A reason that is there stays: it was nearer."""
    if (trace := _trace.get()) is None:
        return
    if trace.reason:
        known.pop("reason", None)
    for name, value in known.items():
        setattr(trace, name, value)
