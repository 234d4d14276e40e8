"""RATE_LIMITS from the outside: who is refused, what they are told, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.stores import get_store
from tests.doors.client import McpClient, call, initialize, notification, request
from tests.doors.conftest import OpenClient, every_door
from tests.doors.doors import Door, Response
from tests.process import only_session, rows
from tests.settings import TOKENS

Settings = Any


def limit(settings: Settings, rates: Mapping[str, str | None], **options: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "RATE_LIMITS": rates, **options}


async def refused(response: Response, scope: str) -> float:
    """How long a client is told to wait, exactly, by an answer that refuses it."""
    message = await response.json()
    data = message["error"]["data"]
    assert (response.status, data["reason"], data["scope"]) == (429, "rate_limited", scope), message
    assert 0 < data["retry_after"] <= int(response.headers["retry-after"]) < data["retry_after"] + 1
    return float(data["retry_after"])


@every_door
async def test_a_session_is_refused_and_another_is_not(
    door: Door, settings: Settings, connect: OpenClient
) -> None:
    limit(settings, {"session": "2/h"})
    first, second = await connect(), await connect()  # of which notifications/initialized counts
    assert await first.call("echo", {"text": "a"}) == "a"
    response = await first.post(call("echo", {"text": "b"}, id="mine"))
    assert 1700 < await refused(response, "session") <= 1800
    assert await second.call("echo", {"text": "c"}) == "c"
    assert (await first.delete()).status == 204


async def test_every_message_of_a_batch_counts(door: Door, settings: Settings) -> None:
    limit(settings, {"session": "1/h, burst 6"})
    client = await McpClient(door, version="2025-03-26").open()
    batch = [notification("notifications/initialized"), *(request("ping", id=n) for n in range(3))]
    assert await client.status(batch) == 200
    response = await client.post([request("ping", id=n) for n in range(2)])
    await refused(response, "session")
    assert await client.status() == 200
    too_many = await client.post([request("ping", id=n) for n in range(7)])
    assert (too_many.status, (await too_many.json())["error"]["data"]["limit"]) == (400, 6)


async def test_an_address_is_refused_before_anything_is_read(door: Door, settings: Settings) -> None:
    limit(settings, {"address": "3/h"}, TRUSTED_PROXIES=1)
    here, there = ({"X-Forwarded-For": f"192.0.2.{n}"} for n in (1, 2))
    client = McpClient(door)
    for body in (b"{", b"[]"):
        response = await client.send("POST", body, {"Content-Type": "application/json", **here})
        assert response.status == 400
    assert (await client.post(initialize(), here)).status == 200
    for body in (b"{", b"{}"):
        response = await client.send("POST", body, {"Content-Type": "application/json", **here})
        await refused(response, "address")
    assert (await client.post(initialize(), there)).status == 200


async def test_the_rest_of_a_batch_counts_for_its_address(door: Door, settings: Settings) -> None:
    limit(settings, {"address": "1/h, burst 6"})
    client = await McpClient(door, version="2025-03-26").open()
    assert await client.status([request("ping", id=n) for n in range(3)]) == 200
    await refused(await client.post([request("ping", id=n) for n in range(2)]), "address")


async def test_what_opens_sessions_is_refused_and_what_uses_them_is_not(
    door: Door, settings: Settings
) -> None:
    limit(settings, {"opening": "1/h"})
    client = await McpClient(door).open()
    response = await McpClient(door).post(initialize())
    await refused(response, "opening")
    assert "mcp-session-id" not in response.headers
    assert (await rows())["Session"] == 1
    assert await client.status() == 200


async def test_a_principal_has_one_limit_wherever_it_is(door: Door, settings: Settings) -> None:
    limit(settings, {"principal": "3/h"}, TRUSTED_PROXIES=1)

    def client_of(name: str, address: str) -> McpClient:
        headers = {"Authorization": f"Bearer {TOKENS[name]}", "X-Forwarded-For": address}
        return McpClient(door, path="/tokens", more_headers=headers)

    await client_of("ann", "192.0.2.1").open()
    assert (await client_of("ann", "192.0.2.2").post(initialize())).status == 200
    await refused(await client_of("ann", "192.0.2.3").post(initialize()), "principal")
    assert (await client_of("ben", "192.0.2.1").post(initialize())).status == 200


async def test_credentials_cannot_be_tried_at_will(door: Door, settings: Settings) -> None:
    limit(settings, {"address": "2/h"})
    client = McpClient(door, path="/tokens")
    statuses = [
        (await client.post(initialize(), {"Authorization": f"Bearer guess-{n}"})).status for n in range(4)
    ]
    assert statuses == [401, 401, 429, 429]


@pytest.mark.parametrize("rates", [{}, {"session": None, "address": None}])
async def test_without_limits_nothing_is_counted(
    door: Door, settings: Settings, rates: dict[str, None], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(settings, rates)
    monkeypatch.setattr(get_store(), "charge", None)
    client = await McpClient(door).open()
    for _ in range(3):
        assert await client.status() == 200


async def test_by_default_a_call_costs_the_store_no_charge(
    door: Door, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MCP_SESSIONS = {k: v for k, v in settings.MCP_SESSIONS.items() if k != "RATE_LIMITS"}
    monkeypatch.setattr(get_store(), "charge", None)
    client = await McpClient(door).open()
    for _ in range(20):
        assert await client.status() == 200


@pytest.mark.parametrize(("policy", "statuses"), [("serve", [200, 429]), ("refuse", [503, 503])])
async def test_while_limits_cannot_be_counted(
    door: Door, settings: Settings, policy: str, statuses: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def is_away(*_: object) -> None:
        raise StoreUnavailable("away")

    limit(settings, {"opening": "1/h"}, RATE_LIMITS_OUTAGE=policy)
    monkeypatch.setattr(type(get_store()), "charge", is_away)
    monkeypatch.setattr(is_away, "__name__", "charge")
    found = [(await McpClient(door).post(initialize())).status for _ in range(2)]
    assert found == statuses


async def test_a_browser_that_is_refused_comes_back(door: Door, settings: Settings) -> None:
    """Any other status than 200 ends an EventSource for good."""
    limit(settings, {"opening": "1/min"})
    stream = await McpClient(door).get()
    assert (await stream.next_event()).event == "session"
    await stream.disconnect()
    refusal = await McpClient(door).get()
    assert (refusal.status, refusal.is_stream) == (200, True)
    why, event = await refusal.events()
    assert (why.event, why.json()["error"], event.event) == ("error", "rate_limited", "heartbeat")
    assert event.retry is not None and 55_000 < event.retry <= 60_000


async def test_a_browser_never_waits_long(door: Door, settings: Settings) -> None:
    """It keeps the time, also for a break that nobody announces."""
    limit(settings, {"address": "1/h"})
    await (await McpClient(door).get()).disconnect()
    *_, event = await (await McpClient(door).get()).events()
    assert event.retry == 60_000


async def test_a_client_of_the_specification_is_refused_a_stream(
    door: Door, settings: Settings, connect: OpenClient
) -> None:
    limit(settings, {"session": "1/h, burst 2"})
    client = await connect()
    stream = await client.get()
    assert stream.status == 200
    await refused(await client.get(), "session")
    await stream.disconnect()


async def test_refusals_are_in_the_security_log(
    door: Door, settings: Settings, connect: OpenClient, caplog: pytest.LogCaptureFixture
) -> None:
    limit(settings, {"session": "1/h", "opening": "1/h"})
    client = await connect()
    with caplog.at_level(logging.WARNING, "mcp_sessions.sessions"):
        assert await client.status() == await client.status() == 429
        assert (await McpClient(door).post(initialize())).status == 429
    [line] = [each for each in caplog.records if getattr(each, "mcp_event", "") == "refused"]
    assert (line.mcp_reason, line.mcp_count) == ("rate_limit", 1)  # type: ignore[attr-defined]
    assert line.mcp_session == (await only_session()).key  # type: ignore[attr-defined]
