"""Tools that happen once, at two workers: whoever sends a call, and however often, has one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.e2e.workers.conftest import StartCluster, Workers, both_at, both_stores
from tests.e2e.workers.gates import Gates
from tests.harness.cluster import through
from tests.harness.modern import post, result
from tests.harness.running import run
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, answer

pytestmark = both_stores
PATHS: Final = ("/deeds", "/deeds-fast")
# A reply becomes a stream early, and says now and then that it waits.
QUICK: Final = {"WORKER_TIMEOUT": 6, "HEARTBEAT_SECONDS": 5, "STREAM_AFTER_SECONDS": 1}
Message = dict[str, Any]


class Client:
    """Calls a tool in one session, at any worker, in one revision; whatever it calls has a new id."""

    def __init__(self, tool: str, order: str) -> None:
        self.tool = tool
        self.order = order

    async def open(self, worker: ServerProcess) -> Client:
        raise NotImplementedError

    def send(self, worker: ServerProcess) -> Any:
        """The response, as a context."""
        raise NotImplementedError

    async def answer(self, worker: ServerProcess) -> Message:
        async with self.send(worker) as response:
            message = await answer(response)
        return {name: value for name, value in message.items() if name != "id"}


class ModernClient(Client):
    async def open(self, worker: ServerProcess) -> Client:
        opened = await result(worker.url, "tools/call", {"name": "open_session", "arguments": {}})
        self._handle = opened["structuredContent"]["session"]
        return self

    def send(self, worker: ServerProcess) -> Any:
        arguments = {"order": self.order, "session": self._handle}
        return post(worker.url, "tools/call", {"name": self.tool, "arguments": arguments})


class HandshakeClient(Client):
    async def open(self, worker: ServerProcess) -> Client:
        self._session = await RawSession.open(worker.url)
        return self

    def send(self, worker: ServerProcess) -> Any:
        at = through(self._session, worker)
        params = {"name": self.tool, "arguments": {"order": self.order}}
        return at.post(self._session.message("tools/call", params))


either_era = pytest.mark.parametrize("client", [ModernClient, HandshakeClient])


@either_era
@pytest.mark.parametrize("path", PATHS)
def test_a_call_sent_to_two_workers_happens_once(
    workers: Workers, gates: Gates, path: str, client: Callable[..., Client]
) -> None:
    """At the same time, cut and sent again. All who send it have the same answer."""
    a, b = both_at(path, workers)

    async def scenario() -> None:
        order = gates.new()
        sender = await client("pay", order).open(a)
        lost = asyncio.create_task(sender.answer(a))
        sending = [asyncio.create_task(sender.answer(each)) for each in (b, a, b)]
        await gates.noted(order, "paid")
        lost.cancel()
        await asyncio.gather(lost, return_exceptions=True)
        sending.append(asyncio.create_task(sender.answer(b)))
        gates.open(order)
        answers = await asyncio.gather(*sending)
        answers += [await sender.answer(each) for each in (a, b)]
        assert answers == [answers[0]] * 6
        assert answers[0]["result"]["structuredContent"]["by"] in {a.pid, b.pid}
        assert gates.notes(order) == ["paid"]

    run(scenario())


def test_a_call_whose_worker_is_killed_has_one_answer(start_cluster: StartCluster, gates: Gates) -> None:
    """That nobody knows what became of it; and it is not run again, but for a tool that may be."""
    cluster = start_cluster(2, **QUICK)
    a, b = cluster[0].at("/deeds"), cluster[1].at("/deeds")
    eras = (ModernClient, HandshakeClient)

    async def scenario() -> None:
        clients = [await era("pay", gates.new()).open(a) for era in eras]
        again = [await era("pay_again", gates.new()).open(a) for era in eras]
        cut = [asyncio.create_task(each.answer(a)) for each in (*clients, *again)]
        for each in (*clients, *again):
            await gates.noted(each.order, "paid")
        waiting = [asyncio.create_task(each.answer(b)) for each in (*clients, *again)]
        await asyncio.to_thread(cluster[0].kill)
        await asyncio.gather(*cut, return_exceptions=True)
        waiting += [asyncio.create_task(each.answer(b)) for each in (*clients, *again)]
        for each in (*clients, *again):
            gates.open(each.order)
        answers = await asyncio.gather(*waiting)
        answers += [await each.answer(b) for each in (*clients, *again)]
        lost = [answer for n, answer in enumerate(answers) if n % 4 < 2]
        assert lost == [lost[0]] * 6
        assert lost[0]["error"]["data"] == {"reason": "worker_lost"}
        assert "its outcome is unknown" in lost[0]["error"]["message"]
        run_again = [answer for n, answer in enumerate(answers) if n % 4 >= 2]
        assert [each["result"]["structuredContent"] for each in run_again] == [{"by": b.pid}] * 6
        assert [gates.notes(each.order) for each in clients] == [["paid"]] * 2
        assert [gates.notes(each.order) for each in again] == [["paid", "paid"]] * 2

    run(scenario())
