"""What all verbs stand on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from mcp_sessions.stores.memory.state import State


class Transactional(ABC):
    """A store that has one primitive."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[State]:
        """The state, for whoever has it alone until the block ends.

        What the block changes is kept as a whole when it ends, and not at all if it raises. The
        verbs raise before they change anything, so a store that keeps the very state it gives
        need not take anything back.
        """
