"""A client of the guide's dialect, as far as its streams go."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.harness.wire import Response, request


@asynccontextmanager
async def guide_stream(url: str, session_id: str | None = None) -> AsyncIterator[tuple[Response, str]]:
    """A GET stream whose greeting was read, and the session's id."""
    headers = {"Accept": "text/event-stream"}
    if session_id is not None:
        headers["X-Session-ID"] = session_id
    async with request("GET", url, headers) as response:
        assert response.status == 200, await response.body()
        greeting = await response.next_event()
        assert greeting.event == ("session" if session_id is None else "session-resumed"), greeting
        if session_id is None:
            assert (await response.next_event()).event == "endpoint"
        yield response, greeting.json()["session_id"]


async def guide_call(url: str, session_id: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/json",
        "X-Session-ID": session_id,
    }
    params = {"name": name, "arguments": arguments}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    async with request("POST", url, headers, body.encode()) as response:
        assert response.status == 200, await response.body()
        return dict(await response.json())
