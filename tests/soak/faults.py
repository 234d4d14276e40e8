"""What goes wrong on purpose, between the wire and the model, to show that a soak finds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.soak.model import Number
from tests.soak.options import Fault

Message = Mapping[str, Any]


class Faults:
    """The chosen fault, once."""

    def __init__(self, chosen: Fault | None) -> None:
        self._left: Fault | None = chosen
        self._held: tuple[str, Message] | None = None

    def of_count(self, who: str, message: Message) -> list[Message]:
        """What reaches the client of a message of a call that does nothing but report its progress."""
        if self._held is not None and self._held[0] == who:
            return self._swap(message)
        if message.get("method") != "notifications/progress" or self._left not in ("dropped", "reordered"):
            return [message]
        if self._left == "reordered":
            self._held = (who, message)
        self._left = None
        return []

    def of_session(self, number: Number) -> list[Number]:
        """How often the client gets a numbered message to its session."""
        if self._left != "doubled":
            return [number]
        self._left = None
        return [number, number]

    def swallows_reply(self) -> bool:
        """Whether a client's answer to a question does not go out."""
        if self._left != "reply-lost":
            return False
        self._left = None
        return True

    def _swap(self, message: Message) -> list[Message]:
        assert self._held is not None
        (_, held), self._held = self._held, None
        if message.get("method") == "notifications/progress":
            return [message, held]
        # It was the last one: nothing to swap it with, so another call has to do.
        self._left = "reordered"
        return [held, message]
