"""Session ids at the doors: what a generator makes opens sessions, and nothing else reaches the store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mcp_sessions.identifiers import digest_of
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, initialize
from tests.doors.conftest import OpenClient, every_door
from tests.doors.doors import Door
from tests.process import only_session, rows

Configure = Callable[..., Awaitable[None]]

FORGED = "198.51.100.66"


@pytest.fixture
def configure(settings: Any) -> Configure:
    """`await configure(OPTION=…)`: what every endpoint has from now on."""

    async def change(**options: Any) -> None:
        # The store is closed with it, which waits.
        await asyncio.to_thread(setattr, settings, "MCP_SESSIONS", {**settings.MCP_SESSIONS, **options})

    return change


@pytest.fixture
def looked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests that the store is asked for."""
    digests: list[str] = []
    store = type(get_store())
    aload = store.aload

    async def listen(self: Any, digest: str) -> Any:
        digests.append(digest)
        return await aload(self, digest)

    monkeypatch.setattr(store, "aload", listen)
    return digests


def of_the_shop() -> str:
    return "shop-" + secrets.token_urlsafe(24)


async def test_sessions_have_ids_that_the_projects_generator_made(
    configure: Configure, connect: OpenClient
) -> None:
    await configure(SESSION_ID_GENERATOR=of_the_shop)
    client = await connect()
    assert str(client.session_id).startswith("shop-") and len(str(client.session_id)) == 37
    assert await client.status() == 200
    assert (await only_session()).digest == digest_of(str(client.session_id))


async def test_a_live_session_whose_id_is_not_of_the_form_is_not_even_looked_for(
    configure: Configure, connect: OpenClient, looked_for: list[str]
) -> None:
    client = await connect()
    await configure(SESSION_ID_ENTROPY=256)
    looked_for.clear()
    assert await client.status() == 404
    assert looked_for == []
    await configure(SESSION_VALIDATION="lenient")
    assert await client.status() == 200
    assert looked_for == [digest_of(str(client.session_id))]


async def test_an_id_that_a_client_made_up_is_never_adopted(door: Door) -> None:
    own = "A1B2C3D4E5F6G7H8I9J0K1L2M3N4O5P6"
    client = McpClient(door, session_id=own)
    assert await client.status() == 404
    for header in ("Mcp-Session-Id", "X-Session-ID"):
        response = await McpClient(door).post(initialize(), {header: own})
        await response.body()
        assert response.headers.get("mcp-session-id") != own
    assert await client.status() == 404
    assert await get_store().aload(digest_of(own)) is None


async def test_a_generator_that_draws_a_taken_id_takes_no_session_over(
    configure: Configure, connect: OpenClient, door: Door
) -> None:
    await configure(SESSION_ID_GENERATOR=lambda: "A" * 32)
    first = await connect()
    response = await McpClient(door).post(initialize())
    assert response.status == 500 and b"AAAA" not in await response.body()
    assert (await rows())["Session"] == 1
    assert await first.status() == 200


@pytest.mark.parametrize(("proxies", "address"), [(1, "203.0.113.9"), (2, FORGED)])
async def test_a_session_is_its_clients_whom_the_proxy_names(
    configure: Configure, connect: OpenClient, proxies: int, address: str
) -> None:
    await configure(TRUSTED_PROXIES=proxies)
    await connect(more_headers={"X-Forwarded-For": f"{FORGED}, 203.0.113.9"})
    assert (await only_session()).metadata["address"] == address


@every_door
async def test_nobody_names_an_address_for_itself(connect: OpenClient) -> None:
    await connect(more_headers={"X-Forwarded-For": FORGED})
    assert (await only_session()).metadata["address"] in ("192.0.2.1", "127.0.0.1")
