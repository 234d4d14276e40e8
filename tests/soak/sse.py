"""A simulated client of 2024-11-05: its session is one stream, and everything comes on it.

It has no event ids to come back with: when its stream breaks, its session is over.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any, Final
from urllib.parse import urljoin

from tests.harness.sse import Event
from tests.harness.wire import Response, request
from tests.soak.attempt import asked, reply_to
from tests.soak.link import JSON, REST_SECONDS, Link, says_unavailable
from tests.soak.model import CallSeen, Excuses, Kind, Violation
from tests.soak.scene import BROKEN, Scene, cancelled
from tests.soak.schedule import Call, Life

POLL_SECONDS: Final = 0.05
TOLD_BESIDES: Final = {"session", "endpoint", "heartbeat", "session-warning"}


class SseLiving:
    """A life as it is led, until its steps are done or its stream breaks."""

    def __init__(self, scene: Scene, who: str, life: Life) -> None:
        self._scene = scene
        self._who = who
        self._life = life
        self._route: Iterator[int] = cycle(life.route)
        self._link = Link(scene, who, "sse", life.version)
        self._worker = next(self._route)
        self._began_at = time.monotonic()
        self._endpoint = ""
        self._is_open = asyncio.Event()
        self._is_broken = False
        self._seen: dict[str, CallSeen] = {}
        self._workers: dict[str, tuple[int, float]] = {}
        self._uncertain: set[str] = set()
        """Requests whose POST broke: they may have arrived, or not."""
        self._patience = scene.patience()
        self._replies = cycle(life.last.replies)
        self._errands: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        self._scene.tally["sessions"] += 1
        reading = asyncio.create_task(self._read())
        try:
            await self._until(lambda: self._is_open.is_set())
            if self._is_open.is_set():
                await self._do_steps()
                await self._until(lambda: not self._has_open_calls())
            self._judge()
        finally:
            await cancelled(reading, *self._errands)

    def _has_open_calls(self) -> bool:
        """Whether one is left that must be answered and is not."""
        certain = self._seen.keys() - self._uncertain
        return any(not self._seen[request_id].is_over for request_id in certain)

    async def _until(self, is_so: Any) -> None:
        """Wait for it, for as long as there are signs of life and the stream lasts."""
        self._patience = self._scene.patience()
        while not is_so() and not self._is_broken and self._patience.remaining > 0:
            await asyncio.sleep(POLL_SECONDS)

    # -- the stream ----------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            async with self._get() as response:
                self._scene.write(self._who, f"worker {self._worker} says {response.status}")
                if response.status == 200:
                    async for event in response.events():
                        self._take(event)
                elif response.status == 503:
                    self._link.check_503(self._worker, self._began_at)
                else:
                    self._note(Kind.WRONG, f"is refused: {response.status} {await response.body()!r}")
        except BROKEN as error:
            self._scene.write(self._who, f"is cut off: {type(error).__name__}")
        self._is_broken = True
        self._scene.tally["ended with their stream"] += 1

    @asynccontextmanager
    async def _get(self) -> AsyncIterator[Response]:
        headers = {"Accept": "text/event-stream"}
        async with request("GET", self._scene.workers[self._worker].url, headers) as response:
            yield response

    def _take(self, event: Event) -> None:
        self._scene.write(self._who, f"{event.id} {event.event} {event.data}")
        self._patience.sign()
        if event.event == "endpoint":
            self._endpoint = str(event.data)
            self._spawn(self._initialize())
        elif event.is_message:
            self._take_message(event.json())
        elif says_unavailable(event):
            self._link.check_503(self._worker, self._began_at)
        elif event.data and event.event not in TOLD_BESIDES:
            self._note(Kind.WRONG, f"nobody sent {event.raw!r}")

    def _take_message(self, message: Mapping[str, Any]) -> None:
        self._scene.tally["events"] += 1
        if message.get("id") == self._who:
            self._is_open.set()  # once more, with an error, if its POST broke and was sent again
            return
        about = str(message.get("params", {}).get("progressToken", message.get("id")))
        if "method" in message and "id" in message:
            self._scene.tally["replies"] += 1
            self._spawn(self._reply(message, self._seen[message["params"]["message"]]))
        elif about in self._seen:
            self._seen[about].take(message)
        else:
            self._note(Kind.WRONG, f"did not ask for {message}")

    # -- requests ------------------------------------------------------------------------

    async def _initialize(self) -> None:
        await self._post({**self._link.initialize(), "id": self._who}, self._route)

    async def _do_steps(self) -> None:
        for pause, step in self._life.steps:
            await self._scene.rest(pause)
            if self._scene.is_closing.is_set() or self._is_broken:
                return
            assert isinstance(step, Call)
            self._scene.tally["steps"] += 1
            await self._call(step)

    async def _call(self, call: Call) -> None:
        """Sent once: a client whose POST broke does not know whether it arrived."""
        self._scene.tally["calls"] += 1
        worker, began_at = next(self._route), time.monotonic()
        message, seen = asked(self._link, call, f"worker {worker}")
        self._seen[seen.request_id] = seen
        self._workers[seen.request_id] = worker, began_at
        try:
            status = await self._status(worker, message)
        except BROKEN:
            self._uncertain.add(seen.request_id)
            return
        if status != 202:
            del self._seen[seen.request_id]
            self._check_refusal(f"{seen.who}", status, worker, began_at)

    def _check_refusal(self, what: str, status: int, worker: int, since: float) -> None:
        if status == 503:
            self._link.check_503(worker, since)
        elif not self._is_broken:
            self._note(Kind.WRONG, f"{what} was answered {status}")

    async def _reply(self, question: Mapping[str, Any], asking: CallSeen) -> None:
        await self._post(reply_to(question, asking.expected), self._replies)

    async def _post(self, message: Mapping[str, Any], route: Iterator[int]) -> None:
        """Until a worker has accepted it, or the session is over."""
        while not self._is_broken:
            worker, began_at = next(route), time.monotonic()
            try:
                status = await self._status(worker, message)
            except BROKEN:
                await asyncio.sleep(REST_SECONDS)
                continue
            if status == 202:
                return
            self._check_refusal(f"{message}", status, worker, began_at)
            await asyncio.sleep(REST_SECONDS)

    async def _status(self, worker: int, message: Mapping[str, Any]) -> int:
        url = urljoin(self._scene.workers[worker].origin, self._endpoint)
        headers = {"Content-Type": JSON}
        async with request("POST", url, headers, json.dumps(message).encode()) as response:
            await response.body()
            return response.status

    def _spawn(self, errand: Any) -> None:
        self._errands.append(asyncio.create_task(errand))

    # -- the verdict ---------------------------------------------------------------------

    def _judge(self) -> None:
        journal = self._scene.journal
        if self._is_broken and not journal.was_hit(self._worker, self._began_at):
            self._note(Kind.WRONG, f"was cut off by worker {self._worker}, which was well")
        for request_id, seen in self._seen.items():
            if not seen.answers and (self._is_broken or request_id in self._uncertain):
                continue
            self._scene.note(seen.judge(Excuses(journal.was_hit(*self._workers[request_id]))))

    def _note(self, kind: Kind, what: str) -> None:
        self._scene.note([Violation(kind, self._who, what)])
