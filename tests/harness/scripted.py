"""Clients that are processes of their own, driven by commands: one a line, as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from mcp_types import TextContent

from tests.harness.faces import REPLY, ROOTS, AnyClient, Heard, Outcome

END_DEADLINE: Final = 60.0


@dataclass
class ScriptedClient:
    process: asyncio.subprocess.Process
    heard: Heard = field(default_factory=Heard)
    session_id: str | None = None
    version: str = ""
    answers: dict[int, asyncio.Future[Any]] = field(default_factory=dict)
    last_id: int = 0

    async def tools(self) -> list[str]:
        return list(await self.do("tools"))

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Outcome:
        result = await self.do("call", name=name, arguments=dict(arguments or {}))
        content = [TextContent(type="text", text=block.get("text", "")) for block in result["content"]]
        return Outcome.of(content, result.get("structuredContent"), bool(result.get("isError")))

    async def subscribe(self, uri: str) -> None:
        await self.do("subscribe", uri=uri)

    async def do(self, command: str, **given: Any) -> Any:
        """One command to the script; commands may overlap."""
        assert self.process.stdin is not None
        self.last_id += 1
        future = self.answers[self.last_id] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"id": self.last_id, "do": command, **given}).encode() + b"\n")
        await self.process.stdin.drain()
        return await future

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            told = json.loads(line)
            self.heard.__dict__.update(told["heard"])
            if "id" not in told:
                continue
            waiting = self.answers.pop(told["id"])
            if "error" in told:
                waiting.set_exception(AssertionError(f"{told['error']} ({told['code']})"))
            else:
                waiting.set_result(told["result"])
        for waiting in self.answers.values():
            waiting.set_exception(AssertionError("The client's process ended."))


@asynccontextmanager
async def scripted(
    command: Sequence[str], url: str, answer: Mapping[str, Any], **options: Any
) -> AsyncIterator[AnyClient]:
    """Start the script, which is given the options too; leaving the block ends its session."""
    given = json.dumps({"url": url, "answer": dict(answer), "reply": REPLY, "roots": ROOTS, **options})
    process = await asyncio.create_subprocess_exec(
        *command, given, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    client = ScriptedClient(process)
    reading = asyncio.create_task(client.read())
    try:
        connected = await client.do("connect")
        client.session_id, client.version = connected["session_id"], connected["version"]
        yield client
        await client.do("end")
    finally:
        process.stdin.close()
        try:
            async with asyncio.timeout(END_DEADLINE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading
