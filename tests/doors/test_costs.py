"""What a request costs in steps that can be counted: what was taken out does not creep back.

Whatever the process does besides (polling, writing uses) can only add to a count: each is the least of a few.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import pytest
from django.db.backends.utils import CursorWrapper

from mcp_sessions.delivery import get_hub
from mcp_sessions.lifecycle import find
from mcp_sessions.runtime import Runtime
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.doors.client import BOTH, LATEST, call, initialize, notification
from tests.doors.conftest import on_mount
from tests.doors.doors import Door

pytestmark = on_mount

TIMES: Final = 5
LONGER: Final = 50
"""Events that the longer of two calls sends more than the shorter one."""


@dataclass
class Costs:
    verbs: list[str] = field(default_factory=list)
    """What the store was asked for."""
    statements: list[str] = field(default_factory=list)
    hops: int = 0
    """Pieces of work that were handed to a thread."""
    tasks: list[str] = field(default_factory=list)
    """What runs beside the request."""


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Costs]:
    costs, loop = Costs(), asyncio.get_running_loop()
    arun, execute, submit = DatabaseSessionStore.arun, CursorWrapper.execute, ThreadPoolExecutor.submit
    spawn = Runtime.spawn

    async def count_verb(store: DatabaseSessionStore, verb: Any, /, *args: Any, **named: Any) -> Any:
        costs.verbs.append(verb.__name__)
        return await arun(store, verb, *args, **named)

    def count_statement(cursor: Any, statement: str, params: Any = None) -> Any:
        costs.statements.append(statement)
        return execute(cursor, statement, params)

    def count_hop(executor: Any, work: Any, /, *args: Any, **named: Any) -> Any:
        costs.hops += 1
        return submit(executor, work, *args, **named)

    def count_task(loop: Any, work: Any, **named: Any) -> asyncio.Task[Any]:
        costs.tasks.append(work.__qualname__)
        return asyncio.Task(work, loop=loop, **named)

    def count_spawned(runtime: Runtime, work: Any, *rest: Any, **named: Any) -> asyncio.Task[Any]:
        costs.tasks.append(work.__qualname__)
        return spawn(runtime, work, *rest, **named)

    with monkeypatch.context() as patched:
        patched.setattr(Runtime, "spawn", count_spawned)
        patched.setattr(DatabaseSessionStore, "arun", count_verb)
        patched.setattr(CursorWrapper, "execute", count_statement)
        patched.setattr(ThreadPoolExecutor, "submit", count_hop)
        loop.set_task_factory(count_task)
        try:
            yield costs
        finally:
            loop.set_task_factory(None)


async def least(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Awaitable[object]]) -> Costs:
    """What it costs once the process is warm, and does nothing else."""
    await work()
    found = []
    for _ in range(TIMES):
        with counted(monkeypatch) as costs:
            await work()
        found.append(costs)
    return Costs(
        min((each.verbs for each in found), key=len),
        min((each.statements for each in found), key=len),
        min(each.hops for each in found),
        min((each.tasks for each in found), key=len),
    )


class Bare:
    """A client that adds no task of its own to what it counts."""

    def __init__(self, door: Door) -> None:
        self._application: Any = door.application  # type: ignore[attr-defined]
        self.session_id = ""

    async def open(self) -> Bare:
        self.session_id = ""
        start, _ = await self.post(initialize())
        self.session_id = dict(start["headers"])[b"mcp-session-id"].decode()
        start, _ = await self.post(notification("notifications/initialized"))
        assert start["status"] == 202
        return self

    async def post(self, message: Any) -> tuple[Any, bytes]:
        sent: list[Any] = []

        async def send(event: Any) -> None:
            sent.append(event)

        await self._application(self._scope("POST", BOTH), _handing_in(json.dumps(message).encode()), send)
        assert sent[0]["status"] in {200, 202}, sent
        return sent[0], b"".join(event["body"] for event in sent[1:])

    async def get(self, heard: Callable[[bytes], object] = bool) -> None:
        """Open a GET stream, and leave it once `heard` returns something true for an event."""
        left = asyncio.Event()

        async def receive() -> Any:
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(event: Any) -> None:
            if heard(event.get("body", b"")):
                left.set()

        incoming = _handing_in(b"", then=receive)
        await self._application(self._scope("GET", "text/event-stream"), incoming, send)

    def _scope(self, method: str, accept: str) -> dict[str, Any]:
        headers = {"host": "testserver", "content-type": "application/json", "accept": accept}
        if self.session_id:
            headers |= {"mcp-session-id": self.session_id, "mcp-protocol-version": LATEST}
        return {
            "type": "http",
            "method": method,
            "path": "/mcp",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.1", 1),
        }


def _handing_in(body: bytes, then: Any = None) -> Any:
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if parts:
            return parts.pop()
        return await (then() if then else asyncio.Event().wait())

    return receive


async def test_a_call(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await Bare(door).open()

    async def echo() -> None:
        _, body = await client.post(call("echo", {"text": "a"}))
        assert json.loads(body)["result"]["content"][0]["text"] == "a"

    costs = await least(monkeypatch, echo)
    assert (costs.verbs, costs.tasks) == (["load"], ["Call._run"])
    assert (len(costs.statements), costs.hops) == (1, 1)


async def test_an_opening(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = await least(monkeypatch, Bare(door).open)
    assert costs.verbs == ["create", "load", "save_metadata"]
    assert costs.tasks == ["_store", "serve_notification"]
    # With the two that begin a transaction on SQLite, and the limit of a client's sessions.
    assert (len(costs.statements), costs.hops) == (10, 3)


async def test_progress_events(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are stored together, so that fifty more cost no more steps than one."""
    client = await Bare(door).open()

    async def report(steps: int) -> None:
        _, body = await client.post(call("progress", {"steps": steps}, token="t"))
        assert body.count(b"notifications/progress") == steps

    few = await least(monkeypatch, lambda: report(1))
    many = await least(monkeypatch, lambda: report(1 + LONGER))
    # The connection may look before or after the first append.
    assert sorted(few.verbs) == ["append", "load", "open_stream", "read"]
    assert len(few.tasks) == 5
    for extra in (len(many.verbs) - len(few.verbs), len(many.tasks) - len(few.tasks), many.hops - few.hops):
        # A slow tool and a quick store: what was brought first is stored first.
        assert extra <= 2


class Listening:
    """Sessions with open GET streams."""

    def __init__(self, clients: list[Bare]) -> None:
        self.clients = clients
        self._heard = [list[bytes]() for _ in clients]
        self._is_heard = asyncio.Event()

    async def __aenter__(self) -> Listening:
        pairs = zip(self.clients, self._heard, strict=True)
        self._tasks = [asyncio.create_task(client.get(partial(self._hear, heard))) for client, heard in pairs]
        await self.have(b"data:")
        return self

    def _hear(self, heard: list[bytes], body: bytes) -> bool:
        heard.append(body)
        self._is_heard.set()
        return False

    async def have(self, text: bytes) -> None:
        """Wait until each stream has had the text."""
        while not all(text in b"".join(heard) for heard in self._heard):
            self._is_heard.clear()
            await self._is_heard.wait()

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)


async def test_a_get_stream(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of a session, in a process that has others open. A new stream is not read."""
    clients = [await Bare(door).open() for _ in range(2 + TIMES)]
    async with Listening([clients.pop()]):
        costs = await least(monkeypatch, lambda: clients.pop().get())
    # That it was left is stored with others, and perhaps later.
    assert [verb for verb in costs.verbs if verb != "mark_delivered"] == ["load", "attach"]
    assert costs.hops <= 3
    assert len(costs.tasks) <= 6, costs.tasks


async def test_a_notification(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that waits for it takes it with the statement that stores it: it is not read."""
    client, texts = await Bare(door).open(), iter(range(1 + TIMES))

    async def notify() -> None:
        text = f"text-{next(texts)}"
        await client.post(call("announce", {"texts": [text]}))
        await listening.have(text.encode())

    async with Listening([client]) as listening:
        costs = await least(monkeypatch, notify)
    assert costs.verbs == ["load", "append"]
    assert costs.hops == 2
    assert len(costs.tasks) == 2, costs.tasks


async def test_a_broadcast(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """To fifty more sessions it costs no more steps than to two."""
    sessions = [await Bare(door).open() for _ in range(2 + LONGER)]
    keys = [(await find(client.session_id)).key for client in sessions]
    texts = itertools.count(1)

    async def broadcast(count: int) -> None:
        text = f"text-{next(texts)}."
        stored = [await get_hub().send_message(key, json.dumps(text)) for key in keys[:count]]
        await asyncio.gather(*stored)
        await listening.have(text.encode())

    async with Listening(sessions[:2]) as listening:
        few = await least(monkeypatch, lambda: broadcast(2))
    async with Listening(sessions) as listening:
        many = await least(monkeypatch, lambda: broadcast(2 + LONGER))
    assert few.verbs == many.verbs == ["append"]
    assert many.hops == few.hops == 1
    assert len(many.tasks) == len(few.tasks) == 1, many.tasks
    assert len(many.statements) == len(few.statements)
