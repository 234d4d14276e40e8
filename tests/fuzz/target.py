"""An endpoint that is sent anything, and what must hold afterwards.

No answer is a 500 and no error is logged; every answer comes in time, and is JSON-RPC or an event stream;
nothing of another principal's session is in it, nor is that session changed; and what it has left behind
goes with the session.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.deferred import flush_deferred
from mcp_sessions.delivery import get_hub
from mcp_sessions.identifiers import digest_of
from mcp_sessions.lifecycle import end
from mcp_sessions.routing import mount
from mcp_sessions.runtime import peek
from mcp_sessions.stores import get_store
from mcp_sessions.stores.memory.state import State
from tests.fuzz.settings import TOKENS

SECONDS: Final = 20.0
"""After which a request counts as hanging."""
CANARY: Final = "canary-8d1f0c5e"
"""Is in the stranger's session, and nowhere else."""
STATUSES: Final = {200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 413, 415, 421, 429, 431}
RENEWED: Final = 200
"""After so many requests the session is ended, and nothing may be left of it."""
LATEST: Final = "2025-11-25"
NO_HEADER: Final = frozenset("\r\n\0")
"""What no server lets through in the value of a header."""

Pairs = Iterable[tuple[str, str]]


@dataclass
class Request:
    """One request. "$SESSION" stands for the session's id, "$KEY" for its key, "$STRANGER" for another id."""

    method: str = "POST"
    path: str = "/mcp"
    query: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class Faults(logging.Handler):
    """Errors that the app has logged, and what asyncio says of tasks."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


class Target:
    """An endpoint with a session of one's own, and one of a stranger's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._faults = Faults()
        for name in ("mcp_sessions", "asyncio"):
            logging.getLogger(name).addHandler(self._faults)
        self._application = mount(_no_django)
        self.count = 0
        self._own = ""
        self._stranger = self._do(self._open("stranger"))
        self._do(get_store().alease(self._key_of(self._stranger), "t", _now(), _now() + timedelta(hours=9)))
        get_store().release(self._key_of(self._stranger), "t", {"secret": CANARY})
        self._before = self._stranger_as_is()
        self._own = self._do(self._open("me"))

    def send(self, request: Request) -> tuple[int, bytes]:
        """Send it, and check all that must hold; (status, body)."""
        self.count += 1
        answer = self._do(self._exchange(self._filled(request)))
        self._check(request, *answer)
        if self.count % RENEWED == 0:
            self.renew()
        elif request.method == "DELETE" and answer[0] == 204:
            self._own = self._do(self._open("me"))
        return answer[0], answer[2]

    def renew(self) -> None:
        """End every session but the stranger's: nothing may be left. Then open another."""
        self._do(self._purge())
        self._check_state(get_store()._state)  # type: ignore[attr-defined]
        self._own = self._do(self._open("me"))

    def close(self) -> None:
        for name in ("mcp_sessions", "asyncio"):
            logging.getLogger(name).removeHandler(self._faults)
        if (runtime := peek()) is not None:
            self._do(runtime.shutdown())
        self._loop.close()

    # -- what must hold --------------------------------------------------------------------

    def _check(self, request: Request, status: int, headers: Mapping[str, str], body: bytes) -> None:
        assert status in STATUSES, (status, body, request)
        assert not self._faults.found, (self._faults.found, request)
        assert CANARY.encode() not in body, (body, request)
        told = " ".join((body.decode("latin-1"), *headers.values()))
        assert self._stranger not in told or "$STRANGER" in str(request), (told, request)
        content_type = headers.get("content-type", "")
        if content_type == "application/json":
            _check_json(body)
        elif body:
            assert content_type.startswith("text/event-stream"), (content_type, body, request)
        assert self._stranger_as_is() == self._before, request

    def _check_state(self, state: State) -> None:
        stranger = self._key_of(self._stranger)
        assert list(state.sessions) == [stranger]
        assert not state.streams and not state.subscribers
        hub = get_hub()
        assert not list(hub.connections)

    def _stranger_as_is(self) -> Any:
        return deepcopy(get_store()._state.sessions[self._key_of(self._stranger)])  # type: ignore[attr-defined]

    # -- how it is sent --------------------------------------------------------------------

    def _do(self, work: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(work, SECONDS))

    def _filled(self, request: Request) -> Request:
        def fill(text: str) -> str:
            for name, value in self._names().items():
                text = text.replace(name, value)
            return text

        headers = [(fill(name), fill(value)) for name, value in request.headers]
        body = request.body
        for name, value in self._names().items():
            body = body.replace(name.encode(), value.encode())
        return Request(request.method, request.path, fill(request.query), headers, body)

    def _names(self) -> dict[str, str]:
        key = self._key_of(self._own) if self._own else ""
        return {"$SESSION": self._own, "$KEY": key, "$STRANGER": self._stranger}

    async def _exchange(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        """As a server hands it on. Of a GET's stream the first bytes are read, then the client leaves."""
        head: list[Any] = []
        body = bytearray()
        left = asyncio.Event()
        parts = [{"type": "http.request", "body": request.body, "more_body": False}]

        async def receive() -> Any:
            if parts:
                return parts.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                head.append(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body") or (request.method == "GET" and body):
                left.set()

        await self._application(_scope(request), receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head[0]["headers"]}
        return head[0]["status"], headers, bytes(body)

    async def _open(self, name: str) -> str:
        message = {
            "jsonrpc": "2.0",
            "id": 0,
            "method": "initialize",
            "params": {
                "protocolVersion": LATEST,
                "capabilities": {},
                "clientInfo": {"name": CANARY if name == "stranger" else "fuzz", "version": "1"},
            },
        }
        request = Request(headers=[*POST, ("authorization", f"Bearer {TOKENS[name]}")])
        request.body = json.dumps(message).encode()
        status, headers, body = await self._exchange(request)
        assert status == 200, body
        return headers["mcp-session-id"]

    async def _purge(self) -> None:
        store = get_store()
        stranger = self._key_of(self._stranger)
        for path in ("/mcp", "/handshake"):
            for session in await store.alive_sessions(path, _now(), "", 10_000):
                if session.key != stranger:
                    await end(session.key, "deleted")
        await flush_deferred()
        await store.apurge(_now(), 10_000)

    def _key_of(self, session_id: str) -> str:
        found = get_store().load(digest_of(session_id))
        return found.key if found else ""


POST: Final = [
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
]


def _check_json(body: bytes) -> None:
    messages = json.loads(body)
    for message in messages if isinstance(messages, list) else [messages]:
        assert message["jsonrpc"] == "2.0", message
        assert ("result" in message) != ("error" in message), message
        # The server's own fault, whatever the status says.
        assert message.get("error", {}).get("code") != -32603, message


def _scope(request: Request) -> dict[str, Any]:
    headers = [
        (name.lower().encode("latin-1", "replace"), _value(value).encode("latin-1", "replace"))
        for name, value in request.headers
    ]
    if not any(name == b"host" for name, _ in headers):
        headers.append((b"host", b"testserver"))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": request.path.encode(),
        "root_path": "",
        "query_string": request.query.encode("latin-1", "replace"),
        "headers": headers,
        "client": ("192.0.2.1", 50000),
        "server": ("testserver", 80),
    }


def _value(value: str) -> str:
    return "".join(each for each in value if each not in NO_HEADER)


def _now() -> Any:
    return timezone.now()


async def _no_django(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})
