"""What clients do, again and again for a while, or so many times; and what it cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Final

from tests.bench.speed.client import Client, Modern, Plain, Stream, numbers
from tests.bench.speed.places import fill
from tests.bench.speed.sides import Server, Spent

SESSIONS: Final = 64
WARM_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 15.0
"""After many streams were opened, what was noted about them is stored first."""
EVENTS: Final = 100
AT_ONCE: Final = 16

Step = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Load:
    """How many seconds each step took, all of them together, and the CPU seconds that they cost."""

    latencies: Sequence[float]
    seconds: float
    spent: Spent
    memory: float = 0.0
    """Bytes that each step has left behind, where that was measured."""
    process: float = 0.0
    """Bytes of the process before the first step, where that was measured."""

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def cost(self) -> float:
        """CPU seconds of a step."""
        return self.spent.total / len(self.latencies)

    @property
    def share(self) -> float:
        """Of a core."""
        return self.spent.total / self.seconds

    def percentile(self, percent: int) -> float:
        return sorted(self.latencies)[percent * (len(self.latencies) - 1) // 100]


async def echo(server: Server, connections: int, seconds: float) -> Load:
    """Calls in 64 sessions, which the connections share out among themselves."""
    clients = await open_all(server, max(SESSIONS, connections))
    return await _calls(server, clients, connections, seconds)


async def modern(server: Server, connections: int, seconds: float) -> Load:
    return await _calls(server, [Modern(server.url) for _ in range(connections)], connections, seconds)


async def constant(server: Server, connections: int, seconds: float) -> Load:
    return await _calls(server, [Plain(server.url) for _ in range(connections)], connections, seconds)


async def opening(server: Server, connections: int, seconds: float) -> Load:
    return await repeat(server, [Client(server.url).open for _ in range(connections)], seconds)


async def progress(server: Server, connections: int, seconds: float) -> Load:
    clients = await open_all(server, connections)
    return await repeat(server, [_progress(client) for client in clients], seconds)


async def notify(server: Server, connections: int, seconds: float) -> Load:
    """A message to the GET stream of the session, until it is there and the call is answered."""
    clients = await open_all(server, connections)
    streams = [await Stream(client).open() for client in clients]
    try:
        pairs = zip(clients, streams, strict=True)
        return await repeat(server, [_notify(client, stream) for client, stream in pairs], seconds)
    finally:
        for stream in streams:
            stream.close()


async def streams(server: Server, count: int, _: float) -> Load:
    """Open so many GET streams, of sessions that are there. What each takes of memory, with its session."""
    before = server.memory
    clients = await open_all(server, count)
    opened = [Stream(client) for client in clients]
    try:
        load = await once(server, (stream.open for stream in opened))
        return replace(load, memory=(server.memory - before) / count, process=before)
    finally:
        for stream in opened:
            stream.close()


async def idle(server: Server, count: int, _: float) -> Load:
    """So many open streams to which nothing is sent but keep-alives, for a minute. What they cost besides."""
    before = server.memory
    clients = await open_all(server, count)
    opened = [Stream(client) for client in clients]
    try:
        await once(server, (stream.open for stream in opened))
        await asyncio.sleep(SETTLE_SECONDS)
        spent = server.spent()
        await asyncio.sleep(IDLE_SECONDS)
        spent = server.spent() - spent
        return Load([IDLE_SECONDS], IDLE_SECONDS, spent, (server.memory - before) / count, before)
    finally:
        for stream in opened:
            stream.close()


async def replay(server: Server, connections: int, seconds: float) -> Load:
    """A client comes back to a stream, and has 100 events that it did not take."""
    clients = await open_all(server, connections)
    return await repeat(server, [await _replay(client) for client in clients], seconds)


async def grown(server: Server, sessions: int, seconds: float) -> Load:
    """Calls over 16 connections, once there are so many sessions."""
    fill(server.side.postgres, sessions)
    return await echo(server, AT_ONCE, seconds)


async def before_growth(server: Server, _: int, seconds: float) -> Load:
    return await echo(server, AT_ONCE, seconds)


async def broadcast(server: Server, count: int, _: float) -> Load:
    """One message to each of so many open streams of as many sessions: a step lasts until all have it."""
    clients = await open_all(server, count)
    await once(server, (_join(client) for client in clients))
    opened = [Stream(client) for client in clients]
    try:
        await once(server, (stream.open for stream in opened))
        return await once(server, [_broadcast(clients[0], opened)], warm=True)
    finally:
        for stream in opened:
            stream.close()


# -- how -------------------------------------------------------------------------------------------


async def repeat(server: Server, steps: Iterable[Step], seconds: float) -> Load:
    """Each step again and again, all side by side. What ends in the first second is not counted."""
    latencies: list[float] = []
    every, is_counted, is_over = list(steps), False, False

    async def go_on(step: Step) -> None:
        while not is_over:
            began = time.perf_counter()
            await step()
            if is_counted and not is_over:
                latencies.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as clients:
        for step in every:
            clients.create_task(go_on(step))
        await asyncio.sleep(WARM_SECONDS)
        before, began, is_counted = server.spent(), time.perf_counter(), True
        await asyncio.sleep(seconds)
        # A machine that is busy with other things takes longer, and its clock counts hundredths of a second.
        while len(latencies) < len(every) or not (server.spent() - before).total:
            await asyncio.sleep(seconds)
        is_over = True
        taken, spent = time.perf_counter() - began, server.spent() - before
    return Load(latencies, taken, spent)


async def once(server: Server, steps: Iterable[Step], *, warm: bool = False) -> Load:
    """Each step once, so many at a time; with `warm` a second time, and only that counts."""
    every = list(steps)
    if warm:
        await once(server, every)
    waiting, latencies = iter(every), list[float]()

    async def take() -> None:
        for step in waiting:
            began = time.perf_counter()
            await step()
            latencies.append(time.perf_counter() - began)

    before, began = server.spent(), time.perf_counter()
    await asyncio.gather(*(take() for _ in range(AT_ONCE)))
    return Load(latencies, time.perf_counter() - began, server.spent() - before)


async def open_all(server: Server, count: int) -> list[Client]:
    clients = [Client(server.url) for _ in range(count)]
    waiting, sharing = iter(clients), [Client(server.url) for _ in range(AT_ONCE)]

    async def open_some(first: Client) -> None:
        await first.connection()
        for client in waiting:
            client.share(first)
            await client.open()

    await asyncio.gather(*map(open_some, sharing))
    # Clients that shared a connection must not ask over it at the same time.
    _part([*clients, *sharing])
    return clients


def _part(clients: Iterable[Client]) -> None:
    """Have the clients give up the connections over which they were opened."""
    for client in clients:
        client.close()


async def _calls(server: Server, clients: Sequence[Client], connections: int, seconds: float) -> Load:
    shares = [clients[number::connections] for number in range(connections)]
    return await repeat(server, map(_echoes, shares), seconds)


def _echoes(clients: Sequence[Client]) -> Step:
    """Calls over one connection, in each session in turn."""
    first, turns = clients[0], cycle(clients)

    async def step() -> None:
        await first.connection()
        client = next(turns)
        client.share(first)
        await client.echo()

    return step


def _progress(client: Client) -> Step:
    async def step() -> None:
        await client.progress(EVENTS)

    return step


def _notify(client: Client, stream: Stream) -> Step:
    async def step() -> None:
        text = f"notice-{next(numbers)}"
        await asyncio.gather(client.call("notify", n=1, text=text), stream.hear(text))

    return step


async def _replay(client: Client) -> Step:
    stream = await Stream(client).open()
    texts = [f"notice-{next(numbers)}" for _ in range(EVENTS)]
    for text in texts:
        await asyncio.gather(client.call("notify", n=1, text=text), stream.hear(text))
    stream.close()

    async def step() -> None:
        again = await Stream(client, stream.first_id).open()
        await again.hear_all(texts)
        again.close()

    return step


def _join(client: Client) -> Step:
    async def step() -> None:
        await client.call("join")
        client.close()

    return step


def _broadcast(client: Client, opened: Sequence[Stream]) -> Step:
    async def step() -> None:
        text = f"to-all-{next(numbers)}"
        calling = asyncio.ensure_future(client.call("broadcast", text=text))
        await asyncio.gather(calling, *(stream.hear(text) for stream in opened))

    return step
