"""One session as its client reaches it: any worker, one connection for each request."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, Final

from tests.harness.sse import Event
from tests.harness.wire import BOTH, Response, answer, request, without_none
from tests.soak.model import Kind, Violation
from tests.soak.options import BRIEF_PATH, BRIEF_SECONDS
from tests.soak.scene import BROKEN, Scene
from tests.soak.schedule import Dialect

LATE_SECONDS: Final = 10.0
"""Workers may notice so late that a client has gone."""
REST_SECONDS: Final = 0.1
"""Before a client tries the next worker."""
JSON: Final = "application/json"
CAPABILITIES: Final[dict[str, Any]] = {"elicitation": {}, "sampling": {}}


def says_unavailable(event: Event) -> bool:
    """What a session guide client gets in place of a 503: its stream then ends, and it comes back."""
    return event.event == "error" and event.json()["error"] == "unavailable"


class Link:
    def __init__(
        self, scene: Scene, who: str, dialect: Dialect, version: str, *, is_brief: bool = False
    ) -> None:
        self.scene = scene
        self._is_brief = is_brief
        self.who = who
        self.dialect = dialect
        self.version = version
        self.session_id: str | None = None
        self.key = ""
        self.is_ending = False
        """Whether its client has ended the session, or is about to."""
        self.silent_until = 0.0
        """Until then its client asks for nothing, so that the session expires."""
        self._numbers = count(1)

    def fall_silent(self) -> None:
        """Ask for nothing from now on, until the session has expired."""
        self.silent_until = time.monotonic() + BRIEF_SECONDS + LATE_SECONDS

    def message(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """A request with an id that no other request of the soak has."""
        number = f"{self.who}.{next(self._numbers)}"
        return {"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params)}

    def initialize(self) -> dict[str, Any]:
        client = {"name": "soak", "version": "1"}
        params = {"protocolVersion": self.version, "capabilities": CAPABILITIES, "clientInfo": client}
        return self.message("initialize", params)

    @asynccontextmanager
    async def post(self, worker: int, message: Any, accept: str = BOTH) -> AsyncIterator[Response]:
        headers = {**self._headers(), "Content-Type": JSON, "Accept": accept}
        async with request("POST", self._url(worker), headers, json.dumps(message).encode()) as response:
            yield response

    @asynccontextmanager
    async def get(
        self, worker: int, last_id: str | None, *, by_id_alone: bool = False
    ) -> AsyncIterator[Response]:
        """`by_id_alone` is how a browser comes back by itself: with no more than the event's id."""
        named = {} if by_id_alone else self._headers()
        headers = without_none({**named, "Accept": "text/event-stream", "Last-Event-ID": last_id})
        async with request("GET", self._url(worker), headers) as response:
            yield response

    async def send(self, message: Mapping[str, Any], route: Iterator[int]) -> bool:
        """Send until a worker has accepted it; False if the session is gone."""
        return await self._until_taken("POST", message, route, good=202)

    async def delete(self, route: Iterator[int]) -> None:
        """End the session; who has to ask twice may be told that it is gone."""
        self.is_ending = True
        await self._until_taken("DELETE", None, route, good=204)

    async def ask(self, method: str, params: Mapping[str, Any], route: Iterator[int]) -> dict[str, Any]:
        """A request whose answer matters and whose way does not: asked again until it is answered."""
        while True:
            try:
                async with self.post(next(route), self.message(method, params)) as response:
                    if response.status == 200:
                        told = await answer(response)
                        if "result" in told:
                            return dict(told["result"])
                        assert (told["error"].get("data") or {}).get("reason") == "worker_lost", told
                    else:
                        assert response.status == 503, (response.status, await response.body())
            except BROKEN:
                pass
            await asyncio.sleep(REST_SECONDS)

    async def _until_taken(self, method: str, message: Any, route: Iterator[int], *, good: int) -> bool:
        while True:
            began, worker = time.monotonic(), next(route)
            try:
                status, body = await self._status(method, worker, message)
                self.scene.write(self.who, f"worker {worker} says {status} to {method} {message}")
            except BROKEN:
                await asyncio.sleep(REST_SECONDS)
                continue
            if status == 503:
                self.check_503(worker, began)
                await asyncio.sleep(REST_SECONDS)
                continue
            if status != good and not (status == 404 and self.is_ending):
                what = f"{method} was answered {status} by worker {worker}: {body!r}"
                self.scene.note([Violation(Kind.WRONG, self.who, what)])
            return status == good

    async def _status(self, method: str, worker: int, message: Any) -> tuple[int, bytes]:
        if method == "POST":
            async with self.post(worker, message) as response:
                return response.status, await response.body()
        async with request(method, self._url(worker), self._headers()) as response:
            return response.status, await response.body()

    def check_503(self, worker: int, since: float) -> None:
        if self.scene.journal.may_be_unavailable(worker, since):
            return
        if self.scene.options.is_busy:
            # Where nothing gets its turn, a store answers later than its workers wait for it.
            self.scene.tally["refused by a busy worker"] += 1
        else:
            self.scene.note([Violation(Kind.WRONG, self.who, f"worker {worker} said 503 and was well")])

    def _url(self, worker: int) -> str:
        server = self.scene.workers[worker]
        return server.origin + BRIEF_PATH if self._is_brief else server.url

    def _headers(self) -> dict[str, str]:
        if self.session_id is None:
            # The guide's way to a session: a GET that names the revision and nothing else.
            return {"MCP-Protocol-Version": self.version} if self.dialect == "guide" else {}
        if self.dialect == "guide":
            return {"X-Session-ID": self.session_id}
        return {"Mcp-Session-Id": self.session_id, "MCP-Protocol-Version": self.version}
