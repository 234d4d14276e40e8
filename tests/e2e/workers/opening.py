"""Clients that come from addresses of a test's own choice."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession


def new_address() -> str:
    return "10." + ".".join(str(random.randrange(256)) for _ in range(3))


@dataclass(frozen=True)
class Opening:
    """What became of an `initialize`."""

    status: int
    retry_after: str | None
    message: dict[str, Any]
    session: RawSession


async def try_to_open(worker: ServerProcess, address: str) -> Opening:
    session = RawSession(worker.url)
    params = {
        "protocolVersion": session.version,
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    hello = session.message("initialize", params)
    async with session.post(hello, X_Forwarded_For=address) as response:
        session.session_id = response.headers.get("mcp-session-id")
        retry_after = response.headers.get("retry-after")
        return Opening(response.status, retry_after, await response.json(), session)


async def opened(worker: ServerProcess, address: str) -> RawSession:
    opening = await try_to_open(worker, address)
    assert opening.status == 200, opening
    await opening.session.notify("notifications/initialized")
    return opening.session
