"""The bells, and the verbs on news."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Final

from django.utils import timezone

from mcp_sessions.stores.memory.kept import Bell
from mcp_sessions.stores.memory.state import State
from mcp_sessions.stores.memory.transactions import Transactional

KEPT: Final = timedelta(minutes=1)
"""How long a bell can be heard, and its token is known."""


def ring(state: State, names: Collection[str], token: str = "") -> None:
    """Tell of what was added to or ended, if anything was."""
    if not names:
        return
    forget_bells(state)
    state.last_bell += 1
    state.bells.append(Bell(state.last_bell, tuple(names), token, timezone.now()))
    if token:
        state.tokens.add(token)


def forget_bells(state: State) -> None:
    since = timezone.now() - KEPT
    while state.bells and state.bells[0].rung_at < since:
        state.tokens.discard(state.bells.popleft().token)


class ChangeVerbs(Transactional):
    def notify(self, names: Sequence[str]) -> None:
        with self.transaction() as state:
            ring(state, names)

    def changes(self, after: int) -> Sequence[tuple[int, Sequence[str]]]:
        with self.transaction() as state:
            new = takewhile(lambda bell: bell.number > after, reversed(state.bells))
            return [(bell.number, list(bell.names)) for bell in new][::-1]

    def last_change(self, before: datetime) -> int:
        with self.transaction() as state:
            return next((bell.number for bell in reversed(state.bells) if bell.rung_at < before), 0)
