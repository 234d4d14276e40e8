"""One GET stream of a simulated client: read, cut, and resumed for as long as its session lives."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle
from typing import Any, Final

from tests.harness.sse import Event
from tests.harness.wire import Response
from tests.soak.link import Link, says_unavailable
from tests.soak.model import Kind, MessagesSeen, Number, Violation
from tests.soak.outside import number_of
from tests.soak.scene import BROKEN
from tests.soak.schedule import Stream

KNOWN: Final = {"session", "session-resumed", "endpoint", "heartbeat", "session-warning"}


class Listener:
    def __init__(self, link: Link, number: int, plan: Stream, messages: MessagesSeen) -> None:
        self.has_session = asyncio.Event()
        self.last_sign: Any = lambda: None
        self._link = link
        self._scene = link.scene
        self._number = number
        self._who = f"{link.who}, stream {number}"
        self._messages = messages
        self._after = plan.after
        self._route, self._cuts, self._rests = cycle(plan.route), iter(plan.cuts), cycle(plan.rests)
        # A browser comes back with its last event id alone, other clients name the session too.
        self._by_id_alone = cycle((False, True))
        self._last_id: str | None = None
        self._response: Response | None = None
        self._is_over = False

    async def run(self) -> None:
        """Until its session ends."""
        await asyncio.sleep(self._after)
        while not self._is_over:
            try:
                await self._connect()
            except BROKEN as error:
                self._scene.write(self._who, f"is cut off: {type(error).__name__}")
            finally:
                self._response = None
            if not self._is_over:
                await asyncio.sleep(max(next(self._rests), self._link.silent_until - time.monotonic()))

    def cut(self) -> None:
        if self._response is not None:
            self._scene.cut(self._response, self._who)

    async def _connect(self) -> None:
        worker = next(self._route)
        is_return = self._last_id is not None
        alone = is_return and self._link.dialect == "guide" and next(self._by_id_alone)
        async with self._link.get(worker, self._last_id, by_id_alone=alone) as response:
            self._scene.tally["resumes"] += is_return
            self._scene.write(self._who, f"worker {worker} says {response.status} to {self._last_id}")
            if response.status != 200:
                await self._refused(response, worker)
                return
            self._response = response
            if self._link.silent_until:
                # It was on its way when its client fell silent, and has renewed the session.
                self._link.fall_silent()
            await self._read(response)

    async def _refused(self, response: Response, worker: int) -> None:
        if response.status == 503:
            return
        self._is_over = True
        if not (response.status == 404 and self._link.is_ending):
            what = f"worker {worker} said {response.status} {await response.body()!r} for {self._last_id}"
            self._scene.note([Violation(Kind.LOST, self._who, what)])

    async def _read(self, response: Response) -> None:
        limit, read = next(self._cuts, None), 0
        async for event in response.events():
            self._take(event)
            read += 1
            if read == limit and self._last_id is not None:
                self._scene.cut(response, self._who)
                return

    def _take(self, event: Event) -> None:
        self._scene.write(self._who, f"{event.id} {event.event} {event.data}")
        if event.event == "session-expired":
            self._expired(event)
        if self._is_over:
            return
        self._last_id = event.id or self._last_id
        if event.event == "session":
            self._link.session_id = event.json()["session_id"]
            self.has_session.set()
        elif (number := _number_of(event)) is not None:
            for each in self._scene.faults.of_session(number):
                self._messages.seen.append((self._number, each))
                self._scene.tally["messages"] += 1
                self.last_sign()
        elif event.data and event.event not in KNOWN and not says_unavailable(event):
            what = f"nobody sent {event.raw!r}"
            self._scene.note([Violation(Kind.WRONG, self._who, what)])

    def _expired(self, event: Event) -> None:
        self._is_over = True
        if not self._link.is_ending:
            what = f"its session has ended: {event.data}"
            self._scene.note([Violation(Kind.LOST, self._who, what)])


def _number_of(event: Event) -> Number | None:
    if event.event == "numbered":
        told = event.json()
    elif event.is_message and event.json().get("method") == "notifications/message":
        told = event.json()["params"]["data"]
    elif event.is_message and event.json().get("method") == "notifications/resources/updated":
        return number_of(event.json()["params"]["uri"])
    else:
        return None
    return told["source"], told["number"]
