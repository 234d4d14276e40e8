"""What befalls the workers while the clients are at it: kills, restarts, pauses, outages."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from tests.harness import processes
from tests.harness.server import ServerFailed
from tests.soak.model import Kind, Violation
from tests.soak.scene import Scene
from tests.soak.schedule import Trouble, What

LOG_HEAD: Final = 100
LOG_TAIL: Final = 1500


class Chaos:
    """One trouble after the other; each is over, and its victims well, before the next."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def run(self, troubles: tuple[Trouble, ...]) -> None:
        for trouble in troubles:
            await self._scene.rest(trouble.after)
            if self._scene.is_closing.is_set():
                return
            if trouble.what == "outage":
                await self._outage(trouble)
                continue
            # Who did not come back the last time is spared.
            victims = [victim for victim in trouble.victims if self._scene.workers[victim].process]
            await asyncio.gather(*(self._befall(trouble, victim) for victim in victims))

    async def _outage(self, trouble: Trouble) -> None:
        """All workers are cut off from services."""
        self._scene.tally["outages"] += 1
        self._scene.write("everybody", f"outage of {trouble.victims}, {trouble.seconds} s")
        everybody = range(len(self._scene.workers))
        hits = [self._scene.journal.begin(worker, lingers=True) for worker in everybody]
        gates = [self._scene.gates[victim] for victim in trouble.victims]
        try:
            for gate in gates:
                await asyncio.to_thread(gate.close)
            await self._scene.rest(trouble.seconds)
        finally:
            for gate in gates:
                await asyncio.to_thread(gate.open)
        for hit in hits:
            self._scene.journal.end(hit)

    async def _befall(self, trouble: Trouble, victim: int) -> None:
        befall: dict[What, Callable[[int, float], Awaitable[None]]] = {
            "kill": self._kill,
            "restart": self._restart,
            "pause": self._pause,
            "freeze": self._freeze,
        }
        who = f"worker {victim}"
        self._scene.tally[f"{trouble.what}s"] += 1
        hit = self._scene.journal.begin(victim, lingers=trouble.what in ("pause", "freeze"))
        self._scene.write(who, f"{trouble.what}, {trouble.seconds} s")
        try:
            await befall[trouble.what](victim, trouble.seconds)
        except AssertionError as error:
            # It stays hit: what follows from that is no violation of its own.
            told = str(error)
            self._scene.note([Violation(Kind.WRONG, who, f"{told[:LOG_HEAD]} … {told[-LOG_TAIL:]}")])
        else:
            self._scene.journal.end(hit)
            self._scene.write(who, "is well")

    async def _kill(self, victim: int, seconds: float) -> None:
        worker = self._scene.workers[victim]
        await asyncio.to_thread(worker.kill)
        await self._scene.rest(seconds)
        await worker.start_beside()

    async def _restart(self, victim: int, _: float) -> None:
        await self._scene.workers[victim].restart_beside()

    async def _pause(self, victim: int, seconds: float) -> None:
        worker = self._scene.workers[victim]
        try:
            await asyncio.to_thread(worker.pause)
            await self._scene.rest(seconds)
        except ServerFailed:
            # On a busy machine it may always be within a transaction.
            self._scene.write(f"worker {victim}", "could not be paused")
        finally:
            worker.resume()

    async def _freeze(self, victim: int, seconds: float) -> None:
        """Stopped wherever it stands: the locks of its transactions hold up the others for a while."""
        worker = self._scene.workers[victim]
        with self._locks():
            try:
                processes.send(processes.tree(worker.pid), signal.SIGSTOP)
                await self._scene.rest(seconds)
            finally:
                worker.resume()

    @contextmanager
    def _locks(self) -> Iterator[None]:
        everybody = range(len(self._scene.workers))
        hits = [self._scene.journal.begin(worker, lingers=True, is_lock=True) for worker in everybody]
        try:
            yield
        finally:
            for hit in hits:
                self._scene.journal.end(hit)
