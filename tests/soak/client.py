"""One simulated client: it opens sessions one after the other, and does in each what is drawn for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from itertools import cycle
from typing import Any, Final

from tests.harness.wire import answer
from tests.soak.attempt import Attempt
from tests.soak.calls import perform, settle
from tests.soak.link import LATE_SECONDS, REST_SECONDS, Link
from tests.soak.model import Kind, MessagesSeen, Violation
from tests.soak.options import BRIEF_SECONDS
from tests.soak.outside import uri_of
from tests.soak.scene import BROKEN, Scene, cancelled
from tests.soak.schedule import Batch, Call, Cut, Life, Message, Step
from tests.soak.sse import SseLiving
from tests.soak.streams import Listener

POLL_SECONDS: Final = 0.05
OPENING_SECONDS: Final = 90.0
"""More than for anything else: a session is opened by a dozen requests."""


async def run_client(scene: Scene, number: int, lives: tuple[Life, ...]) -> None:
    for index, life in enumerate(lives):
        if not scene.is_closing.is_set():
            living = SseLiving if life.dialect == "sse" else Living
            await living(scene, f"client{number}-{index}", life).run()


class Living:
    """A life as it is led."""

    def __init__(self, scene: Scene, who: str, life: Life) -> None:
        self._scene = scene
        self._who = who
        self._life = life
        self._route: Iterator[int] = cycle(life.route)
        self._link = Link(scene, who, life.dialect, life.version, is_brief=life.ending == "expire")
        self._messages = MessagesSeen(who)
        self._listeners = [
            Listener(self._link, number, plan, self._messages) for number, plan in enumerate(life.streams)
        ]
        self._listening: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        self._scene.tally["sessions"] += 1
        try:
            if await self._in_time(self._open(), "does not open", OPENING_SECONDS):
                await self._do_steps()
                await self._wait_for_messages()
                await self._end()
            self._scene.note(self._messages.judge())
        finally:
            await cancelled(*self._listening)

    # -- the beginning -------------------------------------------------------------------

    async def _open(self) -> None:
        if self._life.dialect == "guide":
            self._listen()
            await self._listeners[0].has_session.wait()
            await self._link.ask("initialize", self._link.initialize()["params"], self._route)
            called = {"name": "key", "arguments": {}}
            told = await self._link.ask("tools/call", called, self._route)
            self._link.key = told["content"][0]["text"]
        else:
            while self._link.session_id is None:
                await self._initialize()
            told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            await self._link.send(told, self._route)
            for uri in self._uris():
                await self._link.ask("resources/subscribe", {"uri": uri}, self._route)
            self._listen()

    async def _initialize(self) -> None:
        try:
            async with self._link.post(next(self._route), self._link.initialize()) as response:
                if response.status == 200:
                    session_id = response.headers["mcp-session-id"]
                    assert "result" in await answer(response)
                    self._link.session_id = session_id
                    return
                assert response.status == 503, (response.status, await response.body())
        except BROKEN:
            pass
        await asyncio.sleep(REST_SECONDS)

    def _listen(self) -> None:
        self._listening = [asyncio.create_task(listener.run()) for listener in self._listeners]

    def _uris(self) -> list[str]:
        """Of the numbered messages that will come from outside: each is a resource that changes once."""
        steps = [(index, step) for index, (_, step) in enumerate(self._life.steps)]
        return [
            uri_of((self._source(index), number))
            for index, step in steps
            if isinstance(step, Message)
            for number in range(1, step.count + 1)
        ]

    def _source(self, index: int) -> str:
        return f"{self._who}-outside{index}"

    # -- the steps -----------------------------------------------------------------------

    async def _do_steps(self) -> None:
        """Each begins in its time, whether or not the earlier ones are over."""
        async with asyncio.TaskGroup() as doing:
            for index, (pause, step) in enumerate(self._life.steps):
                await self._scene.rest(pause)
                if self._scene.is_closing.is_set():
                    return
                self._scene.tally["steps"] += 1
                doing.create_task(self._do(index, step))

    async def _do(self, index: int, step: Step) -> None:
        if isinstance(step, Cut):
            for stream in step.streams:
                self._listeners[stream].cut()
        elif isinstance(step, Message):
            await self._in_time(self._send(self._source(index), step.count), "cannot be sent messages")
        else:
            await self._perform(step)

    async def _perform(self, step: Call | Batch) -> None:
        try:
            await perform(self._link, step, self._messages)
        except AssertionError as error:
            self._note(Kind.WRONG, f"{step}: {error}")

    async def _send(self, source: str, count: int) -> None:
        self._messages.tried[source] = count
        for number in range(1, count + 1):
            if self._life.dialect == "guide":
                await self._scene.outside.tell(self._link.key, (source, number))
            else:
                await self._scene.outside.update((source, number))
            self._messages.sent[source] = number
            self._scene.write(self._who, f"{source} {number} is sent")

    # -- the end -------------------------------------------------------------------------

    async def _wait_for_messages(self) -> None:
        """For as long as they keep coming; what is then missing is found by the verdict."""
        patience = self._scene.patience()
        for listener in self._listeners:
            listener.last_sign = patience.sign
        while self._messages.missing() and patience.remaining > 0:
            await asyncio.sleep(POLL_SECONDS)

    async def _end(self) -> None:
        if self._life.ending == "delete":
            await self._in_time(self._delete(), "cannot be deleted")
        elif self._life.ending == "delete while a call runs":
            await self._in_time(self._delete_while_running(self._life.last), "cannot be deleted")
        elif self._life.ending == "expire":
            await self._expire()

    async def _expire(self) -> None:
        """The guide's clients are told on their open streams; the others go away, and come back too late."""
        self._link.is_ending = True
        self._link.fall_silent()
        patience = self._scene.patience(BRIEF_SECONDS + LATE_SECONDS)
        if self._life.dialect == "guide":
            if not await patience.lasts(_awaited(asyncio.gather(*self._listening))):
                self._note(Kind.HANGING, "a GET stream does not end when its session expires")
        else:
            await cancelled(*self._listening)
            await asyncio.sleep(BRIEF_SECONDS + LATE_SECONDS)
        await self._check_gone()
        self._scene.tally["expired"] += 1

    async def _delete_while_running(self, call: Call) -> None:
        attempt = Attempt(self._link, call, cycle(call.route), iter(call.cuts))
        settling = asyncio.create_task(settle(attempt, self._messages, cancels=False))
        try:
            await attempt.has_begun.wait()
            await self._delete()
            await settling
        finally:
            await cancelled(settling)

    async def _delete(self) -> None:
        """It is gone on every worker, and every stream of it ends by itself."""
        self._scene.write(self._who, "is deleted")
        await self._link.delete(self._route)
        self._scene.tally["deleted"] += 1
        ending = asyncio.gather(*self._listening)
        if not await self._scene.patience().lasts(_awaited(ending)):
            self._note(Kind.HANGING, "a GET stream does not end with its session")
        await self._check_gone()

    async def _check_gone(self) -> None:
        while True:
            try:
                async with self._link.post(next(self._route), self._link.message("ping", {})) as response:
                    body = await response.body()
                    if response.status != 503:
                        break
            except BROKEN:
                pass
            await asyncio.sleep(REST_SECONDS)
        if response.status != 404:
            self._note(Kind.WRONG, f"answers after its end: {response.status} {body!r}")

    async def _in_time(
        self, work: Coroutine[Any, Any, object], otherwise: str, more_seconds: float = 0
    ) -> bool:
        """What goes wrong in it is a violation, not the end of the soak."""
        try:
            is_in_time = await self._scene.patience(more_seconds).lasts(work)
        except AssertionError as error:
            self._note(Kind.WRONG, f"{otherwise}: {error}")
            return False
        if not is_in_time:
            self._note(Kind.HANGING, otherwise)
        return is_in_time

    def _note(self, kind: Kind, what: str) -> None:
        self._scene.note([Violation(kind, self._who, what)])


async def _awaited(future: asyncio.Future[Any]) -> None:
    await future
