"""From the signals to a project's own SessionMetrics."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.dispatch import Signal
from django.utils import timezone

from mcp_sessions import signals
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.lifecycle import end, open_session
from mcp_sessions.metrics import get_metrics
from mcp_sessions.metrics.named import REASONS, labels_of
from mcp_sessions.records import EndReason, SessionRecord
from mcp_sessions.runtime import adopt
from mcp_sessions.signal_queue import queue_signal
from tests.metrics.receivers import Call, Noting
from tests.records import new_session as new_record
from tests.servers import DEADLINE

HERE: Final = "tests.metrics.receivers"
# The SDK itself needs OpenTelemetry's API.
BACKENDS: Final = (
    *("datadog", "prometheus_client", "mcp_sessions.metrics.statsd"),
    *("mcp_sessions.metrics.prometheus", "mcp_sessions.metrics.opentelemetry"),
)
LOADED: Final = f"""
import sys
import django
from django.dispatch import Signal
django.setup()
from mcp_sessions import signals
from mcp_sessions.checks import check_configuration
from mcp_sessions.records import SessionRecord
assert not check_configuration()
for name in {BACKENDS}:
    assert name not in sys.modules, name
for name, signal in vars(signals).items():
    assert not isinstance(signal, Signal) or not signal.has_listeners(SessionRecord), name
"""


@pytest.fixture
def calls() -> Iterator[list[Call]]:
    Noting.calls.clear()
    yield Noting.calls
    Noting.calls.clear()


def choose(settings: Any, *entries: Any, **options: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_METRICS": list(entries), **options}


NOW: Final = timezone.now()
ENDED: Final = new_record(created_at=NOW - timedelta(seconds=90), ended_at=NOW)
EXPIRED: Final = new_record(created_at=NOW - timedelta(seconds=90), expires_at=NOW - timedelta(seconds=30))

CALLS: Final[list[tuple[Signal, SessionRecord, str, Call]]] = [
    (signals.session_created, ENDED, "initialize", ("record_session_created", (ENDED,))),
    (signals.session_resumed, ENDED, "stream", ("record_session_resumed", (ENDED,))),
    (signals.session_warned, ENDED, "expiring", ("record_session_warned", (ENDED,))),
    (signals.session_expired, EXPIRED, "idle", ("record_session_expired", (EXPIRED, 60.0, "idle"))),
    (signals.session_ended, ENDED, "deleted", ("record_session_ended", (ENDED, 90.0, "deleted"))),
    (signals.session_rotated, ENDED, "requested", ("record_session_rotated", (ENDED, "requested"))),
    (signals.session_limit_reached, ENDED, "server", ("record_limit_reached", (ENDED, "server"))),
    (signals.connection_opened, ENDED, "get", ("record_connection_established", (ENDED,))),
    (signals.connection_closed, ENDED, "client", ("record_connection_closed", (ENDED, "client"))),
]


@pytest.mark.usefixtures("process")
async def test_every_signal_becomes_a_call(settings: Any, calls: list[Call]) -> None:
    adopt()
    choose(settings, f"{HERE}.Noting")
    for signal, session, reason, _ in CALLS:
        queue_signal(signal, session, reason)
    await flush_deferred()
    assert calls == [expected for *_, expected in CALLS]
    there = {each for each in vars(signals).values() if isinstance(each, Signal)}
    assert {signal for signal, *_ in CALLS} | {signals.request_refused} == there


@pytest.mark.usefixtures("process")
async def test_a_life(settings: Any, calls: list[Call]) -> None:
    adopt()
    choose(settings, f"{HERE}.Noting", MAX_SESSIONS_PER_CLIENT=1)
    before = timezone.now()
    _, first = await open_session("/mcp", "somebody", {})
    _, second = await open_session("/mcp", "somebody", {})
    await end(second.key, EndReason.DELETED)
    await flush_deferred()
    durations = [args[1] for name, args in calls if name == "record_session_ended"]
    assert [(name, args[0].key, *args[1:]) for name, args in calls] == [
        ("record_session_created", first.key),
        ("record_session_created", second.key),
        ("record_limit_reached", first.key, "replaced"),
        ("record_session_ended", first.key, durations[0], "replaced"),
        ("record_session_ended", second.key, durations[1], "deleted"),
    ]
    longest = (timezone.now() - before).total_seconds()
    assert all(0 < duration <= longest for duration in durations)


@pytest.mark.usefixtures("process")
async def test_one_that_fails_harms_nobody(
    settings: Any, calls: list[Call], caplog: pytest.LogCaptureFixture
) -> None:
    adopt()
    choose(settings, f"{HERE}.Failing", f"{HERE}.Noting")
    queue_signal(signals.session_created, ENDED, "initialize")
    await flush_deferred()
    assert calls == [("record_session_created", (ENDED,))]
    (line,) = [record for record in caplog.records if record.name == "mcp_sessions.signals"]
    assert (line.levelno, line.getMessage()) == (logging.ERROR, f"session {ENDED.key}: {HERE}.Failing failed")
    assert "no room" in caplog.text


@pytest.mark.usefixtures("process")
async def test_one_that_cannot_be_made_harms_nobody(
    settings: Any, calls: list[Call], caplog: pytest.LogCaptureFixture
) -> None:
    """A Celery worker runs no checks: the other metrics, and the project's receivers, hear all the same."""
    adopt()
    choose(settings, f"{HERE}.Nope", f"{HERE}.Noting")
    heard: list[str] = []

    def hear(reason: str, **_: Any) -> None:
        heard.append(reason)

    signals.session_created.connect(hear)
    for reason in ("initialize", "stream"):
        queue_signal(signals.session_created, ENDED, reason)
    await flush_deferred()
    signals.session_created.disconnect(hear)
    assert heard == ["initialize", "stream"]
    assert calls == [("record_session_created", (ENDED,))] * 2
    lines = [record.getMessage() for record in caplog.records if record.name == "mcp_sessions.metrics"]
    assert len(lines) == 1 and lines[0].startswith(f"{HERE}.Nope of SESSION_METRICS cannot be made: ")


def test_signals_have_receivers_only_while_metrics_are_chosen(settings: Any) -> None:
    def heard() -> bool:
        return signals.session_created.has_listeners(SessionRecord)

    for value, is_heard in ((None, False), (f"{HERE}.Noting", True), (False, False), ([], False)):
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_METRICS": value}
        assert heard() == is_heard
    assert get_metrics() == ()
    # An impossible value is for the checks to tell.
    settings.MCP_SESSIONS = None
    assert not heard()


def test_nothing_is_loaded_where_none_are_chosen() -> None:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=6 * DEADLINE)
    assert done.returncode == 0, done.stderr


def test_labels_have_few_values() -> None:
    session = new_record(metadata={"dialect": "guide", "client": {"name": "any"}, "address": "1.2.3.4"})
    assert labels_of(session) == {"server": session.server, "dialect": "guide"}
    labels = {"server": session.server, "dialect": "guide"}
    assert labels_of(session, "deleted") == {**labels, "reason": "deleted"}
    assert labels_of(session, f"order {session.key}") == {**labels, "reason": "other"}


def test_every_reason_of_the_signals_has_a_label() -> None:
    """But for those of signals that have one reason, or whose sessions' dialect says it."""
    told = set(re.findall(r'"(\w+)"', Path(signals.__file__).read_text()))
    assert told - {"initialize", "stream", "expiring"} == REASONS
