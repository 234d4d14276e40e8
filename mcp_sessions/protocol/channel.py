"""Where the messages that answer one POST go: into its body, onto its stream, or onto a GET stream."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Protocol

from mcp_sessions import jsonrpc
from mcp_sessions.delivery import Closing, Hub
from mcp_sessions.exceptions import InvalidSessionData
from mcp_sessions.logs import about
from mcp_sessions.records import MESSAGE, Append, SessionRecord, StreamRecord

logger = logging.getLogger("mcp_sessions.protocol")


class Channel(Protocol):
    """What a call sends through."""

    async def send(self, message: jsonrpc.Json) -> bool:
        """Send a notification or a request to the client; False if it cannot be reached before the answer."""

    async def answer(self, message: str) -> None:
        """Send the response to one request of the POST, as JSON text."""

    def leave(self) -> None:
        """One of the POST's calls is over, however it ended."""

    async def disconnect(self) -> None:
        """Close the connection, not the stream: the client comes back for the rest."""


class ReplyChannel:
    """The reply to a POST: a JSON body if the answer comes first, else a stream.

    It becomes a stream, and so rows, at the first message that is sent before the answer or when
    whoever waits for the answer says so. `is_batch` makes the body an array.
    """

    def __init__(
        self, hub: Hub, session: SessionRecord, ids: Sequence[jsonrpc.RequestId], *, is_batch: bool = False
    ) -> None:
        self.decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when every answer is there, or the reply is becoming a stream."""
        self.is_answered = False
        """Whether every answer is there and no stream was needed."""
        self.is_left = False
        """Whether no stream was opened, and nobody is there any more who would answer."""
        self.is_disconnected = False
        """Whether the connection is to be closed although the stream goes on."""
        self._hub = hub
        self._session = session
        self._ids = ids
        self._missing = len(ids)
        self._running = len(ids)
        self._is_batch = is_batch
        self._answers: list[str] = []
        self._in_turn = asyncio.Lock()
        self._opening: asyncio.Task[StreamRecord] | None = None

    @property
    def body(self) -> bytes:
        return (f"[{','.join(self._answers)}]" if self._is_batch else self._answers[0]).encode()

    async def become_stream(self) -> StreamRecord:
        """Open the stream, once. Raises SessionEnded and StoreUnavailable."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        return await asyncio.shield(self._opening)

    async def send(self, message: jsonrpc.Json) -> bool:
        stream = await self.become_stream()
        stored = await self._hub.append(stream, MESSAGE, jsonrpc.encode(message))
        if "id" in message:
            # Nobody would answer a request that is not stored.
            await stored
        return True

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
            try:
                await self._store(stream, message)
            except InvalidSessionData as error:
                await self._store(stream, refused(message, error))

    async def _store(self, stream: StreamRecord, message: str) -> None:
        await (await self._hub.append(stream, MESSAGE, message, ends=not self._missing))

    def leave(self) -> None:
        self._running -= 1
        if self._running:
            return
        if self._opening is not None:
            self._opening.add_done_callback(self._leave)
        elif not self.is_answered:
            self.is_left = True
            self._decide()

    async def disconnect(self) -> None:
        stream = await self.become_stream()
        self.is_disconnected = True
        self._hub.connections.disconnect(stream.name, Closing.POLLING)

    async def _open(self) -> StreamRecord:
        self._decide()
        stream = await self._hub.open(self._session.key, "post", self._ids)
        for answer in self._answers:
            await self._hub.append(stream, MESSAGE, answer)
        return stream

    def _leave(self, opening: asyncio.Task[StreamRecord]) -> None:
        if not opening.cancelled() and opening.exception() is None:
            self._hub.leave(opening.result())

    def _decide(self) -> None:
        if not self.decided.done():
            self.decided.set_result(None)


class BodyChannel(ReplyChannel):
    """The reply to a client that takes JSON in the body and nothing else, however long it runs.

    What comes before the answer goes to the GET stream that the guide's clients keep open.
    """

    async def send(self, message: jsonrpc.Json) -> bool:
        stored = await self._hub.send(self._session.key, MESSAGE, jsonrpc.encode(message), only_now=True)
        is_sent = bool(await stored)
        if not is_sent:
            text, key = "session %s has no open stream: %s dropped", self._session.key
            logger.debug(text, key, message.get("method"), extra=about(key))
        return is_sent

    async def disconnect(self) -> None:
        """Such a client waits for the body: there is nothing to come back to."""


class GetStreamChannel:
    """The reply to a client of 2024-11-05: everything on its GET stream.

    Its POST was answered before the call began, so the call is a row from the start: the one who
    ends the row sends the answer, the call itself or, if its worker dies, another.
    """

    def __init__(self, hub: Hub, session: SessionRecord, call: StreamRecord) -> None:
        self._hub = hub
        self._session = session
        self._call = call

    @classmethod
    async def open(cls, hub: Hub, session: SessionRecord, request_id: jsonrpc.RequestId) -> GetStreamChannel:
        return cls(hub, session, await hub.open(session.key, "call", [request_id]))

    async def send(self, message: jsonrpc.Json) -> bool:
        stored = await self._hub.send_message(self._session.key, jsonrpc.encode(message))
        if "id" in message:
            await stored
        return True

    async def answer(self, message: str) -> None:
        try:
            await self._store(message)
        except InvalidSessionData as error:
            await self._store(refused(message, error))

    async def _store(self, message: str) -> None:
        call = Append(self._call.name, (), ends=True, writer=self._call.writer)
        await (await self._hub.send(self._session.key, MESSAGE, message, call=call))

    def leave(self) -> None:
        self._hub.leave(self._call)

    async def disconnect(self) -> None:
        """That revision has no resumption: nothing is gained by closing."""


def refused(answer: str, error: Exception) -> str:
    """The error that a client gets in place of an answer that the store can never keep."""
    logger.error("an answer cannot be stored: %s", error)
    text, request_id = "The result cannot be stored, so it cannot be sent", json.loads(answer)["id"]
    return jsonrpc.encode(jsonrpc.error(jsonrpc.INTERNAL_ERROR, text, request_id=request_id))
