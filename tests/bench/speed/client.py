"""A client that checks every answer: its status, its id, its text, and what came before it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from tests.bench.speed.wire import PATIENCE, Connection, Response, Wrong

REVISION: Final = "2025-11-25"
MODERN: Final = "2026-07-28"
CONSTANT: Final = b'{"jsonrpc":"2.0","id":1,"result":{}}'
"""What the page of urls.py says."""
BOTH: Final = "application/json, text/event-stream"

numbers = itertools.count(1)


class Client:
    """One session, over one connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session_id = ""
        self._place = urlsplit(url)
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        if self._connection is None or not self._connection.is_open:
            self._connection = await Connection.to(self.url)
        return self._connection

    def share(self, other: Client) -> None:
        """Take the other's connection: only one of them asks at a time."""
        self._connection = other._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- a session ------------------------------------------------------------------------

    async def open(self) -> Client:
        """initialize and initialized."""
        self.session_id = ""
        client = {"name": "bench", "version": "1"}
        asked = {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client}
        response, result = await self.request("initialize", asked)
        if result["protocolVersion"] != REVISION:
            raise Wrong(f"initialize was answered with {result['protocolVersion']}")
        self.session_id = response.headers["mcp-session-id"]
        told = await self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        expect(told.status == 202, f"initialized was answered {told.status}")
        return self

    async def echo(self) -> None:
        text = f"hello-{next(numbers)}-0123456789abcdef"
        expect(await self.call("echo", text=text) == text, "another text came back")

    async def progress(self, count: int) -> None:
        """So many progress notifications, in their order, and then the result."""
        heard: list[Any] = []
        token = f"token-{next(numbers)}"
        result = await self.call("progress", heard.append, token, n=count)
        steps = [each["params"]["progress"] for each in heard if each["params"]["progressToken"] == token]
        expect(result == "done" and steps == list(range(1, count + 1)), f"{len(steps)} events came")

    async def call(
        self, tool: str, heard: Callable[[Any], None] | None = None, token: str = "", **arguments: Any
    ) -> str:
        """The text of the tool's result; `heard` is told what comes before."""
        params: dict[str, Any] = {"name": tool, "arguments": arguments}
        if token:
            params["_meta"] = {"progressToken": token}
        _, result = await self.request("tools/call", params, heard)
        content = result["content"]
        expect(not result.get("isError") and len(content) == 1, f"{tool} failed: {result}")
        return str(content[0]["text"])

    async def request(
        self, method: str, params: dict[str, Any], heard: Callable[[Any], None] | None = None
    ) -> tuple[Response, Any]:
        number = next(numbers)
        response = await self._post({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        before, result = answered(response, number)
        expect(heard is not None or not before, f"{before} came before the answer to {method}")
        for each in before if heard else ():
            heard(each)
        return response, result

    async def _post(self, message: dict[str, Any]) -> Response:
        connection = await self.connection()
        return await connection.ask(self.post(message))

    def post(self, message: dict[str, Any]) -> bytes:
        body = json.dumps(message, separators=(",", ":")).encode()
        head = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{self.own_headers()}"
        return self._head("POST", BOTH, head) + body

    def own_headers(self) -> str:
        if not self.session_id:
            return ""
        return f"Mcp-Session-Id: {self.session_id}\r\nMCP-Protocol-Version: {REVISION}\r\n"

    def _head(self, method: str, accept: str, more: str) -> bytes:
        first = f"{method} {self._place.path} HTTP/1.1\r\nHost: {self._place.netloc}\r\nAccept: {accept}\r\n"
        return f"{first}{more}\r\n".encode()

    def get(self, after: str = "") -> bytes:
        last = f"Last-Event-ID: {after}\r\n" if after else ""
        return self._head("GET", "text/event-stream", self.own_headers() + last)


class Modern(Client):
    """A client of 2026-07-28, which knows no sessions."""

    async def open(self) -> Client:
        return self

    def post(self, message: dict[str, Any]) -> bytes:
        prefix = "io.modelcontextprotocol"
        meta = {
            f"{prefix}/protocolVersion": MODERN,
            f"{prefix}/clientInfo": {"name": "bench", "version": "1"},
            f"{prefix}/clientCapabilities": {},
        }
        self._asked = message["method"], message["params"].get("name", "")
        return super().post({**message, "params": {**message["params"], "_meta": meta}})

    def own_headers(self) -> str:
        method, name = self._asked
        return f"MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\nMcp-Name: {name}\r\n"


class Plain(Client):
    """A client of a page that always says the same."""

    async def open(self) -> Client:
        return self

    async def echo(self) -> None:
        connection = await self.connection()
        response = await connection.ask(self.post({"number": next(numbers)}))
        expect(response.status == 200 and response.body == CONSTANT, f"the page said {response.body!r}")


class Stream:
    """The GET stream of a session, on a connection of its own; `first_id` is the id of its first event."""

    def __init__(self, client: Client, after: str = "") -> None:
        self.client = client
        self.first_id = ""
        self._after = after
        self._connection: Connection | None = None
        self._rest = b""
        self._begun = asyncio.Event()
        self._heard: list[Any] = []
        self._waiting: asyncio.Future[None] | None = None
        self._over: asyncio.Future[Response] | None = None

    async def open(self) -> Stream:
        """Done with the first bytes of the answer."""
        self._connection = await Connection.to(self.client.url)
        self._connection.listener = self._take
        self._connection.on_head = self._begun.set
        self._over = self._connection.begin(self.client.get(self._after))
        async with asyncio.timeout(PATIENCE):
            await self._begun.wait()
        expect(self._connection.status == 200, f"a GET stream was answered {self._connection.status}")
        return self

    async def hear(self, text: str) -> None:
        """Wait for the one log message that is due."""
        await self.hear_all([text])

    async def hear_all(self, texts: Sequence[str]) -> None:
        """Wait for the log messages that are due, in their order."""
        async with asyncio.timeout(PATIENCE):
            while len(self._heard) < len(texts):
                self._waiting = asyncio.get_running_loop().create_future()
                await self._waiting
        heard, self._heard = [message["params"]["data"] for message in self._heard], []
        expect(heard == list(texts), f"other messages came: {heard}")

    def close(self) -> None:
        """That it ends then is nobody's error."""
        if self._connection is not None and self._over is not None:
            self._over.cancel()
            self._connection.close()

    def _take(self, part: bytes) -> None:
        *blocks, self._rest = (self._rest + part).replace(b"\r\n", b"\n").split(b"\n\n")
        if blocks and not self.first_id:
            ids = [line[3:].strip() for line in blocks[0].split(b"\n") if line.startswith(b"id:")]
            self.first_id = ids[0].decode() if ids else ""
        self._heard += [message for block in blocks for message in in_block(block)]
        if self._heard and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Wrong(otherwise)


def answered(response: Response, number: int) -> tuple[list[Any], Any]:
    """What came before the result of the request with this id, and the result. Raises Wrong for any other."""
    expect(response.status == 200, f"a request was answered {response.status} {response.body!r}")
    *before, answer = messages(response)
    expect(answer.get("id") == number and "result" in answer, f"request {number} was answered {answer}")
    return before, answer["result"]


def messages(response: Response) -> list[Any]:
    """The JSON-RPC messages of an answer, in the body or as events."""
    kind = response.headers.get("content-type", "")
    if kind.startswith("application/json"):
        return [json.loads(response.body)]
    expect(kind.startswith("text/event-stream"), f"an answer is {kind}")
    blocks = response.body.replace(b"\r\n", b"\n").split(b"\n\n")
    return [message for block in blocks for message in in_block(block)]


def in_block(block: bytes) -> Iterator[Any]:
    data = [line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")]
    if data and data != [b""]:
        yield json.loads(b"\n".join(data))
