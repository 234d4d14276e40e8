"""One request of a simulated client: sent, cut off, come back to, and answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any, Final

from tests.harness.sse import Event
from tests.harness.wire import BOTH, Response
from tests.soak.link import JSON, Link
from tests.soak.model import GONE, CallSeen, Excuses, Violation
from tests.soak.scene import BROKEN, cancelled
from tests.soak.schedule import Call

NUMBERED: Final = {"count", "flood", "ask", "sample", "forever"}
"""Tools that report progress; of the others, those with a count send messages to the session."""
STALL_AFTER: Final = 10
"""Events that are read before a client stops reading for a while."""
SMALL_WINDOW: Final = 4096
"""Bytes that the system takes for a client that reads nothing, so that the server soon notices."""
Sent = tuple[str | None, str | None]
"""An event's id and data."""


def asked(link: Link, call: Call, where: str) -> tuple[dict[str, Any], CallSeen]:
    """A new request for the call, and what its client must see."""
    request = link.message("tools/call", {})
    request_id = str(request["id"])
    word, n, delay = f"{request_id} has a word", call.count, call.delay
    given: dict[str, dict[str, Any]] = {
        "quick": {"word": word},
        "count": {"word": word, "n": n, "delay": delay},
        "flood": {"word": word, "n": n},
        "quiet": {"word": word, "delay": delay},
        "ask": {"n": n, "delay": delay},
        "sample": {"n": n, "delay": delay},
        "forever": {},
        "announce": {"word": word, "source": request_id, "n": n},
        "tell": {"word": word, "source": request_id, "n": n},
    }
    token = {"progressToken": request_id}
    request["params"] = {"name": call.tool, "arguments": given[call.tool], "_meta": token}
    count = n if call.tool in NUMBERED else 0
    return request, CallSeen(f"{call.tool} {request_id} on {where}", request_id, count, word)


def reply_to(question: Mapping[str, Any], word: str) -> dict[str, Any]:
    """The client's answer to what a tool asks it."""
    results: dict[str, dict[str, Any]] = {
        "elicitation/create": {"action": "accept", "content": {"word": word}},
        "sampling/createMessage": {
            "role": "assistant",
            "model": "a model",
            "content": {"type": "text", "text": word},
        },
    }
    return {"jsonrpc": "2.0", "id": question["id"], "result": results[question["method"]]}


class Attempt:
    """One request. It is over with an answer, or broken before anything came that one can come back to."""

    def __init__(self, link: Link, call: Call, route: Iterator[int], cuts: Iterator[int]) -> None:
        self.link = link
        self.scene = link.scene
        self.call = call
        self.patience = self.scene.patience()
        self.has_begun = asyncio.Event()
        """Set with the first numbered event, or at the end."""
        self.was_cut = False
        self.was_refused = False
        self.was_cancelled = False
        self.began_at = time.monotonic()
        self.worker = next(route)
        self.events: list[Sent] = []
        self.first_id: str | None = None
        self._last_id: str | None = None
        self._is_primed = False
        self.route, self._cuts, self._replies = route, cuts, cycle(call.replies)
        self._rests = cycle(call.rests)
        self._errands: list[asyncio.Task[None]] = []
        self._stall = call.stall
        self._request: Any
        self._request, self.seen = asked(link, call, f"worker {self.worker}")
        self.request_id = self.seen.request_id

    @property
    def is_over(self) -> bool:
        return self.seen.is_over

    def judge(self) -> Iterator[Violation]:
        return self.seen.judge(self.excuses)

    @property
    def excuses(self) -> Excuses:
        hit = self.scene.journal.was_hit(self.worker, self.began_at)
        return Excuses(hit, self.was_cancelled, self.link.is_ending)

    async def run(self, *, cancels: bool) -> None:
        """`cancels`: whether the client takes back a call that would never end."""
        self._cancels = cancels
        try:
            await self._send()
            while not self.is_over and self._last_id is not None:
                await asyncio.sleep(next(self._rests))
                await self._come_back()
            await asyncio.gather(*self._errands)
        finally:
            self.has_begun.set()
            await cancelled(*self._errands)

    @property
    def replayable(self) -> list[Sent]:
        """What comes again for who reads the stream from its first event on."""
        return self.events if self._is_primed else self.events[1:]

    # -- connections ---------------------------------------------------------------------

    async def _send(self) -> None:
        accept = JSON if self.call.takes_json_only else BOTH
        try:
            async with self.link.post(self.worker, self._request, accept) as response:
                if response.status == 200 and response.headers.get("content-type", "").startswith(JSON):
                    self._take_body(await response.json())
                else:
                    await self._read(response, self.worker)
        except BROKEN as error:
            self.scene.write(self.seen.who, f"is cut off: {type(error).__name__}")

    async def _come_back(self) -> None:
        self.scene.tally["resumes"] += 1
        worker = next(self.route)
        try:
            async with self.link.get(worker, self._last_id) as response:
                await self._read(response, worker)
        except BROKEN as error:
            self.scene.write(self.seen.who, f"is cut off: {type(error).__name__}")

    async def _read(self, response: Response, worker: int) -> None:
        self.scene.write(self.seen.who, f"worker {worker} says {response.status} to {self._last_id}")
        if response.status != 200:
            await self._refused(response, worker)
            return
        limit, read = next(self._cuts, None), 0
        if self.call.stall:
            response.narrow(SMALL_WINDOW)
        async for event in response.events():
            self._take(event)
            read += 1
            if read == STALL_AFTER:
                await self._rest_from_reading()
            if read == limit:
                self.was_cut = True
                self.scene.cut(response, self.seen.who)
                return

    async def _refused(self, response: Response, worker: int) -> None:
        if response.status == 503:
            self.was_refused = True
            self.link.check_503(worker, self.began_at)
            return
        what = f"worker {worker} said {response.status} {await response.body()!r}"
        self.seen.refusal = f"{GONE}: {what}" if response.status == 404 else what

    async def _rest_from_reading(self) -> None:
        if self._stall:
            self.scene.tally["stalls"] += 1
            self.scene.write(self.seen.who, f"reads nothing for {self._stall} s")
            await asyncio.sleep(self._stall)
            self._stall = 0

    # -- what comes ----------------------------------------------------------------------

    def _take_body(self, body: Any) -> None:
        self._notice(body)

    def _take(self, event: Event) -> None:
        self.scene.write(self.seen.who, f"{event.id} {event.event} {event.data}")
        if event.event == "session-expired":
            self.seen.refusal = f"{GONE}: {event.data}"
            return
        if event.id:
            self._is_primed = self._is_primed or (event.is_priming and self.first_id is None)
            self.first_id = self.first_id or event.id
            self._last_id = event.id
        if event.is_message:
            self.events.append((event.id, event.data))
            told = [event.json()]
            if self.call.tool == "count":
                told = self.scene.faults.of_count(self.request_id, *told)
            for message in told:
                self._notice(message)

    def _notice(self, message: Mapping[str, Any]) -> None:
        self.patience.sign()
        self.scene.tally["events"] += 1
        self._see(message)
        if message.get("method") == "notifications/progress":
            self.has_begun.set()
            if self.call.tool == "forever" and self._cancels:
                self._errands.append(asyncio.create_task(self._cancel()))
        elif "method" in message and "id" in message:
            self._errands.append(asyncio.create_task(self._reply(message)))

    def _see(self, message: Mapping[str, Any]) -> None:
        self.seen.take(message)

    async def _reply(self, question: Mapping[str, Any]) -> None:
        self.scene.tally["replies"] += 1
        if not self.scene.faults.swallows_reply():
            await self.link.send(reply_to(question, self.seen.expected), self._replies)

    async def _cancel(self) -> None:
        self.was_cancelled = True
        self.scene.tally["cancelled"] += 1
        params = {"requestId": self.request_id, "reason": "enough"}
        told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
        await self.link.send(told, self._replies)
