"""Which part of delivery hears of what. Events go up by these protocols, all else goes down as imports do.

The hub names for each part who its listener is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from mcp_sessions.records import BatchItem, Placed, Takeover


class WakeUps(Protocol):
    """How one process wakes the others up. Whatever it loses, the poller finds."""

    @property
    def is_heard(self) -> bool:
        """Whether wake-ups arrive here, as far as is known. If so the poller looks rarely."""

    def listen(self) -> None:
        """Bring the names that other processes send, from now on."""

    def send(self, names: Iterable[str]) -> None:
        """Send these names soon, together with what is sent meanwhile."""

    async def flush(self) -> None:
        """Wait until what was to be sent was sent, or could not be."""


class ChangesListener(Protocol):
    """Has something open or running here, and must learn what other processes have stored for it."""

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything now."""

    def on_changes(self, names: Iterable[str]) -> None:
        """Something was stored in these streams, or for these sessions. The same may come twice."""

    async def reconcile(self, *, everything: bool = False) -> None:
        """Compare what is open here with the store, some of it or everything, and find whatever no
        notification brought.
        """


class WriterListener(Protocol):
    """Has connections here to which events go that this process stores."""

    def prepare(self, item: BatchItem) -> BatchItem:
        """What is to be stored, with what is known only right before it is."""

    def on_stored(self, item: BatchItem, placed: Placed) -> None:
        """The item was stored in these places; in none if nothing took it."""


class InboxListener(Protocol):
    """Has what the messages of an inbox are for."""

    def on_message(self, session_key: str, message: Mapping[str, Any]) -> None:
        """A message is in the inbox of a session that is held here."""

    def on_end(self, session_key: str, reason: str) -> None:
        """The session has ended."""


class WorkerListener(Protocol):
    """Ends what lost workers have left."""

    def on_lost(self) -> None:
        """This worker was declared lost. Nothing that it sends under its former name is stored."""

    def on_taken_over(self, taken: Sequence[Takeover]) -> None:
        """This worker has taken over the streams of one that was lost."""
