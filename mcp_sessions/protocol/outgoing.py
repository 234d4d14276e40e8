"""What the SDK has sent in 2026-07-28 and its client has yet to take: little, since no store has it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import MutableMapping
from typing import Any, Final

from mcp_sessions.conf import app_settings

Message = MutableMapping[str, Any]

WAITING: Final = 100
"""Messages that wait for a slow client, and no more than BUFFER_BYTES of them. Whoever sends more waits."""


class Outgoing:
    """A queue between the SDK and the reply, bounded in messages and bytes. One message may be larger."""

    def __init__(self) -> None:
        self._messages: deque[Message | None] = deque()
        self._size = 0
        self._added = asyncio.Event()
        self._taken = asyncio.Event()

    async def put(self, message: Message) -> None:
        while self._is_full():
            self._taken.clear()
            await self._taken.wait()
        self._size += _size(message)
        self._add(message)

    def end(self) -> None:
        """Nothing more comes. This is never waited with."""
        self._add(None)

    async def get(self) -> Message | None:
        """The next message; None once nothing more comes."""
        while not self._messages:
            self._added.clear()
            await self._added.wait()
        message = self._messages.popleft()
        self._size -= 0 if message is None else _size(message)
        self._taken.set()
        return message

    def _add(self, message: Message | None) -> None:
        self._messages.append(message)
        self._added.set()

    def _is_full(self) -> bool:
        return len(self._messages) >= WAITING or self._size >= app_settings.BUFFER_BYTES


def _size(message: Message) -> int:
    return len(message.get("body", b""))
