"""How many sessions there may be, and which of them make room for another."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from mcp_sessions.exceptions import LimitReached
from mcp_sessions.records import Limits
from mcp_sessions.stores.memory.kept import Group, Session
from mcp_sessions.stores.memory.state import State


def in_the_way(state: State, new: Session, limits: Limits) -> list[Session]:
    """The sessions that have to end for a new one. Raises LimitReached if none may."""
    chosen: dict[str, Session] = {}
    for limit, group, in_all in (
        (limits.per_principal, state.group(new.server, new.principal), False),
        (limits.in_all, state.group(new.server), True),
    ):
        if limit is None:
            continue
        # Whoever makes room among the principal's makes room among all.
        excess = group.by_end.count_above(new.created_at) - len(chosen) + 1 - limit
        if excess > 0 and not limits.replaces:
            raise LimitReached(limit, in_all=in_all)
        others = (s for s in least_needed(state, group) if s.is_live(new.created_at) and s.key not in chosen)
        chosen.update((session.key, session) for session in list(islice(others, max(excess, 0))))
    return list(chosen.values())


def least_needed(state: State, group: Group) -> Iterator[Session]:
    """Those that can go first come first. Hardly ever more than a few are looked at."""

    def by_use(is_busy: bool) -> Iterator[Session]:
        return (state.sessions[key] for key in group.by_use if state.sessions[key].is_busy == is_busy)

    return chain(by_use(False), by_use(True))
