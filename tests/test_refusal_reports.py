"""The security log: the first refusal is reported at once, its repeats are counted, and nothing is lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from mcp_sessions import signals
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.exchange import Exchange
from mcp_sessions.metrics.named import OTHER, REASONS
from mcp_sessions.records import Refusal
from mcp_sessions.refusals import report_refusal, reports
from mcp_sessions.runtime import Runtime, adopt
from tests.metrics.receivers import Call, Noting
from tests.process import eventually, stop

LOGGER: Final = "mcp_sessions.sessions"


@pytest.fixture
async def runtime(process: None, caplog: pytest.LogCaptureFixture) -> Runtime:
    caplog.set_level(logging.INFO, LOGGER)
    return adopt()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[Any]]:
    return lambda: [each for each in caplog.records if each.name == LOGGER]


@pytest.fixture
def metrics(settings: Any) -> Iterator[list[Call]]:
    Noting.calls.clear()
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_METRICS": "tests.metrics.receivers.Noting"}
    yield Noting.calls
    Noting.calls.clear()


def sent_from(address: str, path: str = "/mcp") -> Exchange:
    return Exchange("POST", path, path, {}, address=address)


async def test_repeats_are_counted_until_the_interval_ends(
    runtime: Runtime, lines: Any, metrics: list[Call], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "INTERVAL_SECONDS", 0.05)
    for _ in range(4):
        report_refusal(sent_from("192.0.2.7"), "owner", "a-key")
    assert [each.mcp_count for each in lines()] == [1]
    await eventually(lambda: len(lines()) == 2)
    first, repeats = (each.getMessage() for each in lines())
    assert first == "request refused: owner, from 192.0.2.7 at /mcp, owner -, session a-key"
    assert repeats == "3 more requests refused: owner, from 192.0.2.7 at /mcp, owner -, session a-key"
    await flush_deferred()
    told = Refusal("/mcp", "owner", "192.0.2.7", key="a-key")
    assert [args for name, args in metrics if name == "record_requests_refused"] == [
        (told,),
        (Refusal("/mcp", "owner", "192.0.2.7", key="a-key", count=3),),
    ]


async def test_reasons_addresses_and_endpoints_count_apart(runtime: Runtime, lines: Any) -> None:
    report_refusal(sent_from("192.0.2.7"), "owner")
    report_refusal(sent_from("192.0.2.7"), "invalid_token")
    report_refusal(sent_from("192.0.2.8"), "owner")
    report_refusal(sent_from("192.0.2.7", "/other"), "owner")
    assert [each.mcp_count for each in lines()] == [1] * 4


async def test_an_attack_from_many_addresses_has_few_lines(
    runtime: Runtime, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_ADDRESSES", 3)
    for number in range(200):
        report_refusal(sent_from(f"192.0.2.{number}"), "invalid_token")
    assert [each.mcp_address for each in lines()] == ["192.0.2.0", "192.0.2.1", "192.0.2.2", "others"]


async def test_what_was_counted_is_reported_before_the_process_stops(runtime: Runtime, lines: Any) -> None:
    for _ in range(6):
        report_refusal(sent_from("192.0.2.7"), "owner")
    await stop(runtime)
    assert [each.mcp_count for each in lines()] == [1, 5]


async def test_a_client_without_a_credential_is_no_warning(runtime: Runtime, lines: Any) -> None:
    report_refusal(sent_from("192.0.2.7"), "not_authenticated")
    report_refusal(sent_from("192.0.2.7"), "invalid_token")
    assert [each.levelname for each in lines()] == ["INFO", "WARNING"]


async def test_receivers_of_the_signal_get_the_refusal(runtime: Runtime) -> None:
    heard: list[tuple[str, Refusal]] = []

    def hear(reason: str, refusal: Refusal, **_: Any) -> None:
        heard.append((reason, refusal))

    signals.request_refused.connect(hear)
    try:
        report_refusal(sent_from("192.0.2.7"), "origin")
        await flush_deferred()
    finally:
        signals.request_refused.disconnect(hear)
    assert heard == [("origin", Refusal("/mcp", "origin", "192.0.2.7"))]


def test_the_metric_of_a_reason_of_somebody_elses_is_other(metrics: list[Call]) -> None:
    from mcp_sessions.metrics.named import NamedMetrics

    counted: list[tuple[str, Any, int]] = []

    class Counting(NamedMetrics):
        def count(self, name: str, labels: Any, by: int = 1) -> None:
            counted.append((name, labels, by))

        def time(self, seconds: float, labels: Any) -> None:
            raise AssertionError("nothing has a duration")

    Counting().record_requests_refused(Refusal("/mcp", "owner", count=3))
    Counting().record_requests_refused(Refusal("/mcp", "a reason of a project"))
    assert "owner" in REASONS
    assert counted == [
        ("refused", {"server": "/mcp", "reason": "owner"}, 3),
        ("refused", {"server": "/mcp", "reason": OTHER}, 1),
    ]
