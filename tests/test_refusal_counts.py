"""Refusals in the database: counted by the hour, in few rows whatever is sent, and nothing is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
from django.utils import timezone

from mcp_sessions import analytics, background
from mcp_sessions.analytics.aggregates import HOUR, hour_of
from mcp_sessions.analytics.refusals import refusals, refused_by_hour, store_refusals
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.exchange import Exchange
from mcp_sessions.lifecycle import apurge
from mcp_sessions.models import RefusalHour
from mcp_sessions.principals import Principal
from mcp_sessions.records import Refusal, RefusalCount
from mcp_sessions.refusals import counts, report_refusal
from mcp_sessions.runtime import Runtime, adopt
from tests.process import in_thread, stop
from tests.servers import DEADLINE

pytestmark = pytest.mark.django_db(transaction=True)

MEMORY: Final = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}
COLUMNS: Final = ("reason", "address", "owner", "key", "count")
Configure = Callable[..., None]


@pytest.fixture
def configure(settings: Any) -> Iterator[Configure]:
    def change(**options: Any) -> None:
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, **options}

    change(KEEP_REFUSALS_SECONDS=3600)
    yield change


@pytest.fixture
async def runtime(configure: Configure, process: None) -> Runtime:
    return adopt()


def sent_from(address: str, subject: str = "") -> Exchange:
    return Exchange("POST", "/mcp", "/mcp", {}, address=address, principal=Principal("tests", subject))


async def rows() -> list[tuple[Any, ...]]:
    return await in_thread(
        lambda: list(RefusalHour.objects.order_by("-count", "address").values_list(*COLUMNS))
    )


def counted(count: int = 1, ago: timedelta = timedelta(), **of: Any) -> RefusalCount:
    refusal = Refusal(**{"server": "/mcp", "reason": "owner", "address": "192.0.2.7", "count": count, **of})
    return RefusalCount(refusal, timezone.now() - ago)


async def test_those_that_are_alike_are_one_row(runtime: Runtime) -> None:
    for _ in range(300):
        report_refusal(sent_from("192.0.2.7", "ada"), "owner", "a-key")
    report_refusal(sent_from("192.0.2.7"), "not_authenticated")
    await stop(runtime)
    assert await rows() == [
        ("owner", "192.0.2.7", '["tests","ada",""]', "a-key", 300),
        ("not_authenticated", "192.0.2.7", "", "", 1),
    ]


async def test_a_flood_is_written_at_intervals(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """However fast requests are refused, one transaction has all of an interval."""
    stored: list[int] = []
    monkeypatch.setattr(counts, "WRITE_SECONDS", 0.05)

    async def store(batch: Any) -> None:
        stored.append(sum(each.refusal.count for each in batch))

    monkeypatch.setattr(analytics, "astore_refusals", store)
    async with asyncio.timeout(DEADLINE):
        for _ in range(5000):
            report_refusal(sent_from("192.0.2.7"), "rate_limit")
        assert stored == []
        while sum(stored) < 5000:
            await asyncio.sleep(0.005)
    assert len(stored) == 1


async def test_past_the_bound_the_rest_of_the_hour_is_one_row(configure: Configure, runtime: Runtime) -> None:
    configure(MAX_REFUSALS=2)
    for number in range(50):
        report_refusal(sent_from(f"192.0.2.{number}"), "invalid_token")
    report_refusal(sent_from("192.0.2.1"), "invalid_token")
    await stop(runtime)
    assert [(address, count) for _, address, *_, count in await rows()] == [
        ("others", 48),
        ("192.0.2.1", 2),
        ("192.0.2.0", 1),
    ]


async def test_what_cannot_be_written_is_written_later(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, attempts = analytics.astore_refusals, list[int]()
    for module, name in ((counts, "WRITE_SECONDS"), (background, "RETRY_SECONDS")):
        monkeypatch.setattr(module, name, 0.01)

    async def fail(batch: Any) -> None:
        attempts.append(len(batch))
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(analytics, "astore_refusals", fail)
    async with asyncio.timeout(DEADLINE):
        while len(attempts) < 3:
            report_refusal(sent_from("192.0.2.7"), "owner")
            await asyncio.sleep(0.005)
    monkeypatch.setattr(analytics, "astore_refusals", store)
    report_refusal(sent_from("192.0.2.7"), "owner")
    await stop(runtime)
    ((*_, count),) = await rows()
    told = [each for each in caplog.records if "'counts of refusals' fails" in each.getMessage()]
    assert count > 3 and [each.levelno for each in told] == [logging.WARNING]


async def test_they_are_kept_beside_another_store(configure: Configure, process: None) -> None:
    configure(SESSION_STORE=MEMORY)
    runtime = adopt()
    report_refusal(sent_from("192.0.2.7"), "owner", "a-key")
    await stop(runtime)
    assert [count for *_, count in await rows()] == [1]


@pytest.mark.parametrize(
    "options", [{"KEEP_REFUSALS_SECONDS": 0}, {"SESSION_STORE": MEMORY, "SESSION_ROWS": False}]
)
async def test_they_can_be_switched_off(configure: Configure, process: None, options: dict[str, Any]) -> None:
    configure(**options)
    runtime = adopt()
    report_refusal(sent_from("192.0.2.7"), "owner")
    await stop(runtime)
    assert await rows() == []


async def test_a_purge_deletes_the_old_ones(runtime: Runtime) -> None:
    old = [counted(ago=timedelta(hours=2), address=f"192.0.2.{number}") for number in range(3)]
    await in_thread(lambda: store_refusals("default", [*old, counted(2)]))
    await apurge()
    assert [count for *_, count in await rows()] == [2]


def test_processes_count_together(configure: Configure) -> None:
    store_refusals("default", [counted(2), counted(3, address="192.0.2.8")])
    store_refusals("default", [counted(5, address="192.0.2.8"), counted(7, key="a-key")])
    assert sorted(refusals("default").values_list("address", "key", "count")) == [
        ("192.0.2.7", "", 2),
        ("192.0.2.7", "a-key", 7),
        ("192.0.2.8", "", 8),
    ]


def test_every_hour_of_a_span_says_how_many(configure: Configure) -> None:
    now = timezone.now()
    long_ago, apart = timedelta(hours=30), timedelta(hours=2)
    store_refusals(
        "default", [counted(4, ago=long_ago), counted(3, ago=apart), counted(2), counted(reason="csrf")]
    )
    store_refusals("default", [counted(9, server="/other")])
    found = refused_by_hour("default", "/mcp", now - 3 * HOUR, now)
    assert [each["at"] for each in found] == [hour_of(now) - number * HOUR for number in (3, 2, 1, 0)]
    assert sum(each["counts"].get("owner", 0) for each in found) == 5
    assert sum(each["counts"].get("csrf", 0) for each in found) == 1
    everywhere = refused_by_hour("default", "", now - 3 * HOUR, now)
    assert sum(each["counts"].get("owner", 0) for each in everywhere) == 14
