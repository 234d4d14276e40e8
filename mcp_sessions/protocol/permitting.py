"""The request that is served, as it was checked: what its sender may use, and what they must not find."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mcp_sessions.context_values import set_within
from mcp_sessions.exchange import Target
from mcp_sessions.principals import Principal


class Permitting(Protocol):
    """Who says what may be used: a Guard."""

    async def permits(self, principal: Principal, kind: str, name: str, component: Any) -> bool: ...


NOTHING: Final = nullcontext()


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """The guard of a request, its sender, and what they must not find by its name."""

    guard: Permitting
    principal: Principal
    hidden: frozenset[Target]


checked_request: ContextVar[CheckedRequest | None] = ContextVar("mcp_checked_request", default=None)
"""None where nothing requires anything, and outside of a call."""


def guarded(
    guard: Permitting, principal: Principal, hidden: frozenset[Target] | None
) -> AbstractContextManager[object]:
    """Serve a request that was checked; if nothing had to be (`hidden` is None) it costs nothing."""
    if hidden is None:
        return NOTHING
    return set_within(checked_request, CheckedRequest(guard, principal, hidden))


async def is_permitted(kind: str, name: str, component: Any) -> bool:
    """Whether the sender of the request that is served may use a component with this name, or URI."""
    checked = checked_request.get()
    return checked is None or await checked.guard.permits(checked.principal, kind, name, component)
