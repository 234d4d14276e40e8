"""The process that sends messages from outside of the workers, as the soak sees it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import IO, Any, Final

from tests.harness.server import ROOT, environment
from tests.soak.model import Number

SCHEME: Final = "soak://"
END_DEADLINE: Final = 30.0


class Outside:
    """One order at a time; each is answered when it is carried out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._in_turn = asyncio.Lock()

    async def update(self, number: Number) -> None:
        """Say that the resource of that number has changed."""
        await self._do(uri=uri_of(number))

    async def tell(self, key: str, number: Number) -> None:
        """Send a named event to a session of the guide's."""
        await self._do(key=key, event="numbered", data={"source": number[0], "number": number[1]})

    async def _do(self, **order: object) -> None:
        async with self._in_turn:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            await self._process.stdin.drain()
            told = await self.hear()
        assert told == {"sent": True}, (order, told)

    async def hear(self) -> Any:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "The sending process ended; its log says why."
        return json.loads(line)


@asynccontextmanager
async def outside(env: Mapping[str, str], log: IO[bytes]) -> AsyncIterator[Outside]:
    command = [sys.executable, "-m", "tests.harness.launch", "tests.soak.sender"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment(env), stdin=pipe, stdout=pipe, stderr=log
    )
    try:
        found = Outside(process)
        assert await found.hear() == {"ready": True}
        yield found
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), END_DEADLINE)
    except TimeoutError:
        process.kill()
        await process.wait()


def uri_of(number: Number) -> str:
    return f"{SCHEME}{number[0]}/{number[1]}"


def number_of(uri: str) -> Number:
    source, _, number = uri.removeprefix(SCHEME).partition("/")
    return source, int(number)
