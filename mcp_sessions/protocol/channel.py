"""Where the messages that answer one POST go: into its body, onto its stream, or onto a GET stream."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from mcp_sessions import jsonrpc
from mcp_sessions.delivery import Closing, Hub
from mcp_sessions.records import MESSAGE, SessionRecord, StreamRecord

logger = logging.getLogger("mcp_sessions.protocol")


class Channel(Protocol):
    """What a call sends through."""

    @property
    def can_send(self) -> bool:
        """Whether a message before the answer can reach the client."""

    async def send(self, message: jsonrpc.Json) -> None:
        """Send a notification or a request to the client."""

    async def answer(self, message: str) -> None:
        """Send the response to one request of the POST, as JSON text."""

    async def disconnect(self) -> None:
        """Close the connection, not the stream: the client comes back for the rest."""


class ReplyChannel:
    """The reply to a POST: a JSON body if the answer comes first, else a stream.

    It becomes a stream, and so rows, at the first message that is sent before the answer or when
    whoever waits for the answer says so. `is_batch` makes the body an array.
    """

    def __init__(
        self, hub: Hub, session: SessionRecord, *, expected: int = 1, is_batch: bool = False
    ) -> None:
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when every answer is there, or the reply is becoming a stream."""
        self.is_answered = False
        """Whether every answer is there and no stream was needed."""
        self.is_disconnected = False
        """Whether the connection is to be closed although the stream goes on."""
        self.end: int | None = None
        """The stream's last position, once it has ended: whoever follows it later has not seen it end."""
        self._hub = hub
        self._session = session
        self._missing = expected
        self._is_batch = is_batch
        self._answers: list[str] = []
        self._in_turn = asyncio.Lock()
        self._opening: asyncio.Task[StreamRecord] | None = None

    @property
    def can_send(self) -> bool:
        return True

    @property
    def body(self) -> bytes:
        return (f"[{','.join(self._answers)}]" if self._is_batch else self._answers[0]).encode()

    async def become_stream(self) -> StreamRecord:
        """Open the stream, once. Raises SessionEnded and StoreUnavailable."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        return await asyncio.shield(self._opening)

    async def send(self, message: jsonrpc.Json) -> None:
        stream = await self.become_stream()
        await self._hub.append(stream.name, MESSAGE, jsonrpc.encode(message))

    async def answer(self, message: str) -> None:
        if self._opening is None:
            self._missing -= 1
            self._answers.append(message)
            if not self._missing:
                self.is_answered = True
                self._decide()
            return
        stream = await asyncio.shield(self._opening)
        async with self._in_turn:
            # Counted here and not before: the others of a batch may have waited for the stream too,
            # and the one that is appended last ends it.
            self._missing -= 1
            is_last = not self._missing
            stored = await self._hub.append(stream.name, MESSAGE, message, ends=is_last)
        position = await stored
        if is_last and position is not None:
            self.end = position
            self._hub.end_at(stream.name, position)

    async def disconnect(self) -> None:
        stream = await self.become_stream()
        self.is_disconnected = True
        self._hub.disconnect(stream.name, Closing.POLLING)

    async def _open(self) -> StreamRecord:
        self._decide()
        stream = await self._hub.open(self._session.key, "post")
        for answer in self._answers:
            await self._hub.append(stream.name, MESSAGE, answer)
        return stream

    def _decide(self) -> None:
        if not self.decided.done():
            self.decided.set_result(None)


class BodyChannel(ReplyChannel):
    """The reply to a client that takes JSON in the body and nothing else, however long it runs.

    What comes before the answer goes to the GET stream that the guide's clients keep open.
    """

    @property
    def can_send(self) -> bool:
        return bool(self._hub.open_streams(self._session.key, "guide"))

    async def send(self, message: jsonrpc.Json) -> None:
        if self.can_send:
            await self._hub.send_message(self._session.key, jsonrpc.encode(message))
        else:
            logger.debug(
                "session %s has no open stream: %s dropped", self._session.key, message.get("method")
            )

    async def disconnect(self) -> None:
        """Such a client waits for the body: there is nothing to come back to."""


class GetStreamChannel:
    """The reply to a client of 2024-11-05: everything on its GET stream."""

    can_send = True

    def __init__(self, hub: Hub, session: SessionRecord) -> None:
        self._hub = hub
        self._session = session

    async def send(self, message: jsonrpc.Json) -> None:
        await self._hub.send_message(self._session.key, jsonrpc.encode(message))

    async def answer(self, message: str) -> None:
        await (await self._hub.send_message(self._session.key, message))

    async def disconnect(self) -> None:
        """That revision has no resumption: nothing is gained by closing."""
