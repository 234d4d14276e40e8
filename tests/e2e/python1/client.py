"""The official Python client 1.x, driven by commands as the TypeScript clients are: see lines.mjs.

It runs in an environment of its own, and imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Any

from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client

GIVEN = json.loads(sys.argv[1])
HEARD: dict[str, list[Any]] = {
    name: [] for name in ("progress", "elicited", "sampled", "logs", "updated", "errors")
}


def write(**message: Any) -> None:
    print(json.dumps({**message, "heard": HEARD}), flush=True)


def hear(what: str, value: Any) -> None:
    HEARD[what].append(value)
    write()


async def elicit(_: Any, params: Any) -> types.ElicitResult:
    hear("elicited", params.message)
    return types.ElicitResult(action="accept", content=GIVEN["answer"])


async def sample(_: Any, params: Any) -> types.CreateMessageResult:
    hear("sampled", "".join(message.model_dump_json() for message in params.messages))
    content = types.TextContent(type="text", text=GIVEN["reply"])
    return types.CreateMessageResult(role="assistant", model="a model", content=content)


async def list_roots(_: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri=uri) for uri in GIVEN["roots"]])


async def log(params: Any) -> None:
    hear("logs", params.data)


async def on_message(message: Any) -> None:
    if isinstance(message, Exception):
        hear("errors", repr(message))
    elif isinstance(getattr(message, "root", None), types.ResourceUpdatedNotification):
        hear("updated", str(message.root.params.uri))


async def on_progress(progress: float, total: float | None, message: str | None) -> None:
    hear("progress", progress)


class Client:
    def __init__(self, session: ClientSession, stack: AsyncExitStack, session_id: Any, version: str) -> None:
        self.session = session
        self.stack = stack
        self.session_id = session_id
        self.version = version

    async def connect(self) -> Any:
        return {"session_id": self.session_id(), "version": self.version}

    async def tools(self) -> Any:
        return [tool.name for tool in (await self.session.list_tools()).tools]

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        result = await self.session.call_tool(name, arguments, progress_callback=on_progress)
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def subscribe(self, uri: Any) -> None:
        await self.session.subscribe_resource(uri)


async def opened(stack: AsyncExitStack) -> Client:
    read, send, session_id = await stack.enter_async_context(streamable_http_client(GIVEN["url"]))
    session = ClientSession(
        read,
        send,
        elicitation_callback=elicit,
        sampling_callback=sample,
        list_roots_callback=list_roots,
        logging_callback=log,
        message_handler=on_message,
    )
    await stack.enter_async_context(session)
    initialized = await session.initialize()
    return Client(session, stack, session_id, str(initialized.protocolVersion))


async def answer(client: Client, id: int, do: str, **given: Any) -> None:
    try:
        write(id=id, result=await getattr(client, do)(**given))
    except Exception as error:
        write(id=id, error=repr(error), code=None)


async def main() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    running, command = set(), {}
    async with AsyncExitStack() as stack:
        client = await opened(stack)
        while line := await reader.readline():
            command = json.loads(line)
            if command["do"] == "end":
                break
            running.add(asyncio.create_task(answer(client, **command)))
    if command.get("do") == "end":
        # It has ended its session, by leaving it.
        write(id=command["id"], result=None)


asyncio.run(main())
