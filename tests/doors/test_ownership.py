"""To a stranger a session is unknown: the same bytes and store reads, by every way to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import pytest

from mcp_sessions.lifecycle.last_used import Touches
from mcp_sessions.runtime import current, run
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, call, initialize, notification, request
from tests.doors.conftest import every_door
from tests.doors.doors import Door, Response
from tests.process import rows
from tests.settings import TOKENS

UNKNOWN: Final = "B" * 32
Ask = Callable[[McpClient, str], Awaitable[Response]]


def client_of(door: Door, name: str, path: str = "/tokens") -> McpClient:
    return McpClient(door, path=path, more_headers={"Authorization": f"Bearer {TOKENS[name]}"})


def by_header(message: Any) -> Ask:
    async def ask(client: McpClient, session_id: str) -> Response:
        return await client.post(message, {"Mcp-Session-Id": session_id})

    return ask


def by_guides_header(message: Any) -> Ask:
    async def ask(client: McpClient, session_id: str) -> Response:
        return await client.post(message, {"X-Session-ID": session_id})

    return ask


async def by_endpoint_url(client: McpClient, session_id: str) -> Response:
    return await McpClient(
        client.door, f"{client.path}?sse_session={session_id}", more_headers=client.more_headers
    ).post(request("ping"))


async def by_query(client: McpClient, session_id: str) -> Response:
    return await McpClient(
        client.door, f"{client.path}?session_id={session_id}", more_headers=client.more_headers
    ).get()


async def get(client: McpClient, session_id: str) -> Response:
    return await client.get(**{"Mcp-Session-Id": session_id})


async def resume(client: McpClient, session_id: str) -> Response:
    return await client.get(last_event_id="0123456789abcdef:1", **{"Mcp-Session-Id": session_id})


async def delete(client: McpClient, session_id: str) -> Response:
    return await client.send("DELETE", headers={"Mcp-Session-Id": session_id})


REPLY: Final = {"jsonrpc": "2.0", "id": "srv-1", "result": {"action": "accept"}}
CANCELLATION: Final = notification("notifications/cancelled", {"requestId": 1})
WAYS: Final[dict[str, Ask]] = {
    "a request": by_header(request("ping")),
    "a call": by_header(call("echo", {"text": "x"})),
    "a notification": by_header(notification("notifications/initialized")),
    "a reply": by_header(REPLY),
    "a cancellation": by_header(CANCELLATION),
    "a batch": by_header([request("ping")]),
    "initialize": by_header(initialize()),
    "a guide's request": by_guides_header(request("ping")),
    "a guide's initialize": by_guides_header(initialize()),
    "the endpoint URL": by_endpoint_url,
    "GET": get,
    "a guide's GET": by_query,
    "a return by event id": resume,
    "DELETE": delete,
}


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the store is asked for."""
    asked: list[str] = []
    store: Any = get_store()
    run = store.arun

    async def arun(verb: Any, /, *args: Any, **options: Any) -> Any:
        asked.append(verb.__name__)
        return await run(verb, *args, **options)

    monkeypatch.setattr(store, "arun", arun)
    yield asked


@pytest.fixture
async def session_id(door: Door) -> AsyncIterator[str]:
    """Of Ann, who uses it in the end as if nothing had been."""
    ann = await client_of(door, "ann").open()
    # Uses are written a moment later: not while a test counts what is asked for.
    await run(current().service(Touches).write())
    yield str(ann.session_id)
    assert await ann.status() == 200


async def seen(ask: Ask, client: McpClient, session_id: str) -> tuple[Any, ...]:
    response = await ask(client, session_id)
    body = (await response.body()).replace(session_id.encode(), UNKNOWN.encode())
    return response.status, response.headers, body


@pytest.mark.parametrize("way", WAYS)
async def test_a_strangers_request_tells_nothing(
    door: Door, session_id: str, verbs: list[str], way: str
) -> None:
    ben, before = client_of(door, "ben"), await rows()
    unknown = await seen(WAYS[way], ben, UNKNOWN[: len(session_id)])
    reads, verbs[:] = list(verbs), []
    known = await seen(WAYS[way], ben, session_id)
    assert known == unknown
    assert verbs == reads == ["load"]
    assert known[0] == 404 or known[2].startswith(b"retry:") or b"session-expired" in known[2]
    assert await rows() == before


@every_door
async def test_nor_does_the_endpoint_of_another_server(door: Door, session_id: str) -> None:
    """There nobody is authenticated, and a token alone makes no owner."""
    elsewhere = client_of(door, "ann", "/mcp")
    unknown = await seen(WAYS["a request"], elsewhere, UNKNOWN[: len(session_id)])
    assert await seen(WAYS["a request"], elsewhere, session_id) == unknown


async def test_a_stranger_cannot_exchange_an_event_id_for_a_session(door: Door, verbs: list[str]) -> None:
    ann, ben = client_of(door, "ann"), client_of(door, "ben")
    stream = await ann.get()
    event = await stream.next_event()
    sealed = str(event.id)
    own = event.json()["session_id"]
    verbs.clear()
    stolen = await (await ben.get(last_event_id=sealed)).body()
    # Nothing is looked for that the event id does not give away.
    assert verbs == []
    forged = await (await ben.get(last_event_id=f"{'A' * (len(sealed) - 2)}:1")).body()
    assert stolen == forged and own.encode() not in stolen and b"session-expired" in stolen
    again = await ann.get(last_event_id=sealed)
    assert (await again.next_event()).event == "session-resumed"
    await again.disconnect()
    await stream.disconnect()
