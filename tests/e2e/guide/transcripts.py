"""Transcripts: what a client sends, byte by byte, and the exact bytes that come back.

A fixture is a text file of steps:

    >> stream                       send a request on a new connection with this name
    GET /mcp HTTP/1.1
    Accept: text/event-stream

    << stream                       the answer: first its head, at a later step what comes next
    HTTP/1.1 200
    content-type: text/event-stream
    mcp-session-id: <none>          this header must not be there

    id: <place>.0
    event: session
    data: {"session_id": "<session_id>", "expires_at": "<expires_at>"}

    == ended stream                 nothing more came, and the body came to its proper end
    == cut stream                   the client breaks the connection
    == restart                      the server is stopped and started
    # a comment

What stands in angle brackets is an id or a time. In an answer its first appearance matches by
pattern (chosen by the name up to a dash), and every later one must be the same text; in a request
it stands for what was seen before. Of the headers those are compared that the fixture names; of a
stream's and a body's bytes, every one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.harness.server import ServerProcess
from tests.harness.wire import Response, request

FOLDER: Final = Path(__file__).parent
STEP: Final = re.compile(r"^(>>|<<|==) (.+)$", re.MULTILINE)
COMMENT: Final = re.compile(r"^#.*$", re.MULTILINE)
PLACEHOLDER: Final = re.compile(r"<([a-z_]+(?:-[a-z]+)?)>")
NONE: Final = "<none>"

PATTERNS: Final = {
    "session_id": r"[A-Z0-9]{32}",
    "key": r"[0-9a-f]{24}",
    # A sealed event id without its position: base64 of nonce, text and tag.
    "place": r"[A-Za-z0-9_-]{80,120}",
    "stream": r"[0-9a-f]{16}",
    "expires_at": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?\+00:00",
    "ask": r"ask-[0-9a-f]{16}",
    # Of /brief's five seconds; a busy machine may be a little late.
    "remaining": r"[1-5]",
    # These are the server object's own.
    "tools": r"\[\{.+\}\]",
    "initialized": r"\{.+\}",
    "question": r"\{.+\}",
    "report": r"status,priority,tickets\\n(?:[a-z]+,[a-z]+,\d+\\n)+",
    "count": r"\d+",
}


class Mismatch(AssertionError):
    """Raised when something else came back than the fixture says."""


@dataclass(frozen=True)
class Step:
    kind: str
    what: str
    text: str
    line: int


def read(name: str) -> list[Step]:
    # Comments leave their line empty, so that the numbers of the others stay.
    text = COMMENT.sub("", (FOLDER / f"{name}.http").read_text())
    marks = list(STEP.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [
        Step(mark[1], mark[2], text[mark.end() + 1 : end].rstrip("\n"), text.count("\n", 0, mark.start()) + 1)
        for mark, end in zip(marks, ends, strict=True)
    ]


@dataclass
class Connection:
    """A request's connection and the bytes of its body that were not compared yet."""

    opening: asyncio.Task[Response]
    """A POST may be answered only when something else has happened: nobody waits for its head before."""
    has_head: bool = True
    rest: bytes = b""
    _chunks: AsyncIterator[bytes] | None = None

    @property
    def response(self) -> Response:
        return self.opening.result()

    @property
    def is_stream(self) -> bool:
        return self.response.headers.get("content-type", "").startswith("text/event-stream")

    async def blocks(self, count: int) -> bytes:
        """The next blocks of an event stream, or what is left when it ends before."""
        while self.rest.count(b"\n\n") < count and await self._more():
            pass
        taken = b"".join(block + b"\n\n" for block in self.rest.split(b"\n\n")[:count])
        taken = taken if self.rest.startswith(taken) else self.rest
        self.rest = self.rest[len(taken) :]
        return taken

    async def everything(self) -> bytes:
        while await self._more():
            pass
        taken, self.rest = self.rest, b""
        return taken

    async def _more(self) -> bool:
        if self._chunks is None:
            self._chunks = self.response.chunks()
        async for chunk in self._chunks:
            self.rest += chunk
            return True
        return False


@dataclass
class Player:
    """Plays transcripts against a server; `seen` has what stood in the places of ids and times."""

    server: ServerProcess
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    seen: dict[str, str] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    at: str = ""

    async def __aenter__(self) -> Player:
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self.stack.aclose()

    async def play(self, name: str) -> None:
        for step in read(name):
            self.at = f"{name}.http:{step.line}"
            if step.kind == ">>":
                await self.send(step.what, step.text)
            elif step.kind == "<<":
                await self.expect(step.what, step.text)
            else:
                await self._do(*step.what.split())

    async def send(self, name: str, text: str) -> None:
        head, _, body = self._filled(text).partition("\n\n")
        start, *lines = head.split("\n")
        method, target, _ = start.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        sending = request(method, self.server.origin + target, headers, body.encode() if body else None)
        opening = asyncio.create_task(self.stack.enter_async_context(sending))
        self.connections[name] = Connection(opening)

    async def expect(self, name: str, text: str) -> None:
        connection = self.connections[name]
        await connection.opening
        if connection.has_head:
            connection.has_head = False
            head, _, text = text.partition("\n\n")
            self._compare_head(connection.response, head)
        if connection.is_stream:
            expected = text + "\n\n" if text else ""
            self._compare(expected, await connection.blocks(expected.count("\n\n")), name)
        else:
            self._compare(text, await connection.everything(), name)

    async def _do(self, action: str, name: str = "") -> None:
        if action == "restart":
            await self.server.restart_beside()
        elif action == "cut":
            self.connections.pop(name).response.cut()
        elif action == "ended":
            connection = self.connections[name]
            if (rest := await connection.everything()) or not connection.response.finished:
                raise Mismatch(f"{self.at}: {name} was to end, and went on with {rest!r}")
        else:
            raise AssertionError(f"{self.at}: no such action: {action}")

    def _compare_head(self, response: Response, head: str) -> None:
        start, *lines = head.split("\n")
        names = [line.partition(": ")[0] for line in lines]
        came = [f"HTTP/1.1 {response.status}"]
        came += [f"{name}: {response.headers[name]}" for name in names if name in response.headers]
        expected = [start] + [line for line in lines if not line.endswith(NONE)]
        self._compare("\n".join(expected), "\n".join(came).encode(), f"the head of {response.headers}")

    def _compare(self, expected: str, came: bytes, name: str) -> None:
        found = re.fullmatch(self._pattern(expected), came.decode("utf-8"))
        if found is None:
            raise Mismatch(
                f"{self.at}: {name}\nexpected {expected!r}\ncame     {came.decode()!r}\nseen {self.seen}"
            )
        self.seen.update({key.replace("__", "-"): value for key, value in found.groupdict().items()})

    def _pattern(self, expected: str) -> str:
        return "".join(self._pieces(expected))

    def _pieces(self, expected: str) -> Iterator[str]:
        position, known = 0, set[str]()
        for mark in PLACEHOLDER.finditer(expected):
            yield re.escape(expected[position : mark.start()])
            name, group = mark[1], mark[1].replace("-", "__")
            if name in self.seen:
                yield re.escape(self.seen[name])
            elif name in known:
                yield f"(?P={group})"
            else:
                known.add(name)
                yield f"(?P<{group}>{PATTERNS[name.split('-')[0]]})"
            position = mark.end()
        yield re.escape(expected[position:])

    def _filled(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda mark: self.seen[mark[1]], text)
