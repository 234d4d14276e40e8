"""Each backend is told one thing of each kind, and says it by the names of docs/metrics.md."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from django.db import connection
from django.http import Http404
from django.test import Client, RequestFactory
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mcp_sessions.metrics import SessionMetrics
from mcp_sessions.metrics.opentelemetry import OpenTelemetryMetrics
from mcp_sessions.metrics.prometheus import PrometheusMetrics
from mcp_sessions.metrics.statsd import StatsDMetrics
from mcp_sessions.records import Refusal
from mcp_sessions.stores import get_store
from mcp_sessions.views import prometheus_metrics
from tests.records import new_session
from tests.servers import DEADLINE

PAGE: Final = Path(__file__).parents[2] / "docs/metrics.md"
ROW: Final = re.compile(r"^\| `(mcp\.[\w.]+)` \| `(mcp_\w+)` \| `(mcp\.[\w.]+)` \| (.*?) \| (.*?) \|", re.M)
LINE: Final = re.compile(r"^([\w.]+):\d+\|(\w+)(?:\|#(.*))?$", re.M)
RECEIVERS: Final = "tests.metrics.receivers"
ACTIVE: Final = 3

Named = set[tuple[str, str, frozenset[str]]]
"""(name, unit or kind, labels) of each metric."""


def tell(metrics: SessionMetrics) -> None:
    session = new_session()
    metrics.record_session_created(session)
    metrics.record_session_resumed(session)
    metrics.record_session_warned(session)
    metrics.record_session_expired(session, 90.5, "idle")
    metrics.record_session_ended(session, 0.25, "deleted")
    metrics.record_session_rotated(session, "requested")
    metrics.record_limit_reached(session, "principal")
    metrics.record_connection_established(session)
    metrics.record_connection_closed(session, "client")
    metrics.record_requests_refused(Refusal("/mcp", "owner", count=3))
    metrics.record_active_count(ACTIVE)


@pytest.fixture
def three_live(process: None) -> None:
    for _ in range(ACTIVE):
        get_store().create(new_session())


def rows() -> list[tuple[str, ...]]:
    found = ROW.findall(PAGE.read_text())
    assert len(found) == 12
    return found


def labels(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"`(\w+)`", text))


# -- StatsD ----------------------------------------------------------------------------------


@pytest.fixture
def received() -> Iterator[Callable[[], set[str]]]:
    """Where StatsD would be; what has come until now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        here.bind(("127.0.0.1", 0))
        metrics = StatsDMetrics(port=here.getsockname()[1])
        tell(metrics)
        metrics.close()
        here.setblocking(False)

        def lines() -> set[str]:
            found: set[str] = set()
            while True:
                try:
                    found |= set(here.recv(65536).decode().splitlines())
                except BlockingIOError:
                    return found

        yield lines


def test_statsd(received: Callable[[], set[str]]) -> None:
    lines = received()
    assert "mcp.session.created:1|c|#server:/mcp,dialect:specification" in lines
    assert "mcp.session.expired:1|c|#server:/mcp,dialect:specification,reason:idle" in lines
    assert "mcp.session.duration:90500|ms|#server:/mcp,dialect:specification" in lines
    assert "mcp.session.duration:250|ms|#server:/mcp,dialect:specification" in lines
    assert "mcp.session.connection.closed:1|c|#server:/mcp,dialect:specification,reason:client" in lines
    assert f"mcp.session.active_count:{ACTIVE}|g" in lines
    kinds = {"c": "counter", "g": "gauge", "ms": "durations"}
    said = {
        (name, kinds[kind], frozenset(re.findall(r"(\w+):", tags)))
        for name, kind, tags in LINE.findall("\n".join(lines))
    }
    assert said == {(row[0], row[3], labels(row[4])) for row in rows()}
    assert "mcp.session.refused:3|c|#server:/mcp,reason:owner" in lines
    assert len(lines) == 13


# -- Prometheus ------------------------------------------------------------------------------


@pytest.fixture
def prometheus() -> Iterator[PrometheusMetrics]:
    metrics = PrometheusMetrics(registry=CollectorRegistry())
    tell(metrics)
    yield metrics
    metrics.close()


@pytest.mark.usefixtures("three_live")
def test_prometheus(prometheus: PrometheusMetrics) -> None:
    body, content_type = prometheus.exposition("application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text")
    families = list(text_string_to_metric_families(body.decode()))
    kinds = {"counter": "counter", "gauge": "gauge", "histogram": "durations"}
    suffix = {"counter": "_total"}
    said = {
        (
            family.name + suffix.get(family.type, ""),
            kinds[family.type],
            frozenset(name for sample in family.samples for name in sample.labels) - {"le"},
        )
        for family in families
    }
    assert said == {(row[1], row[3], labels(row[4])) for row in rows()}
    plain, content_type = prometheus.exposition()
    assert content_type.startswith("text/plain")
    text = plain.decode()
    of_all = 'dialect="specification",server="/mcp"'
    assert f"mcp_session_active {float(ACTIVE)}" in text
    assert 'mcp_session_ended_total{dialect="specification",reason="deleted",server="/mcp"} 1.0' in text
    assert f"mcp_session_duration_seconds_sum{{{of_all}}} 90.75" in text
    assert 'mcp_session_duration_seconds_bucket{dialect="specification",le="1.0",server="/mcp"} 1.0' in text


@pytest.mark.usefixtures("process")
def test_the_buckets_may_be_others() -> None:
    metrics = PrometheusMetrics(buckets=[5, 7], registry=CollectorRegistry())
    tell(metrics)
    found = re.findall(r'le="([^"]+)"', metrics.exposition()[0].decode())
    assert found == ["5.0", "7.0", "+Inf"]


@pytest.mark.usefixtures("three_live")
def test_the_view(settings: Any, rf: RequestFactory) -> None:
    with pytest.raises(Http404, match="SESSION_METRICS names no Prometheus"):
        prometheus_metrics(rf.get("/metrics"))
    backend = "mcp_sessions.metrics.prometheus.PrometheusMetrics"
    for _ in range(2):  # after a change of the settings the library's registry takes them again
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_METRICS": [backend]}
        response = prometheus_metrics(rf.get("/metrics"))
        assert f"mcp_session_active {float(ACTIVE)}".encode() in response.content
        assert response["Content-Type"].startswith("text/plain")
        assert "no-store" in response["Cache-Control"]
    assert prometheus_metrics(rf.post("/metrics")).status_code == 405


@pytest.mark.usefixtures("process")
def test_the_view_needs_no_transaction(
    settings: Any, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None could be begun while the database is away. The view takes a project's own backend, too."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    settings.ROOT_URLCONF = "tests.metrics.urls"
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_METRICS": f"{RECEIVERS}.Exposing"}
    assert client.get("/metrics").content == b"in a transaction: False"


@pytest.mark.usefixtures("process")
def test_without_the_store_the_counters_are_there(
    prometheus: PrometheusMetrics, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    away = {
        "BACKEND": "mcp_sessions.stores.redis.RedisSessionStore",
        "OPTIONS": {"url": "redis://127.0.0.1:1"},
    }
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": away}
    text = prometheus.exposition()[0].decode()
    assert "mcp_session_created_total{" in text
    assert "mcp_session_active" not in text
    assert "live sessions cannot be counted" in caplog.text


# -- OpenTelemetry ---------------------------------------------------------------------------


def collected(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    if data is None:
        return {}
    return {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


@pytest.mark.usefixtures("three_live")
def test_opentelemetry() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    metrics = OpenTelemetryMetrics(meter_provider=provider)
    tell(metrics)
    found = collected(reader)
    kinds = {"Sum": "counter", "Gauge": "gauge", "Histogram": "durations"}
    said = {
        (
            name,
            kinds[type(metric.data).__name__],
            frozenset(
                key.removeprefix("mcp.session.") for p in metric.data.data_points for key in p.attributes
            ),
        )
        for name, metric in found.items()
    }
    assert said == {(row[2], row[3], labels(row[4])) for row in rows()}
    (active,) = found["mcp.session.active_count"].data.data_points
    assert (active.value, dict(active.attributes)) == (ACTIVE, {})
    (durations,) = found["mcp.session.duration"].data.data_points
    assert (found["mcp.session.duration"].unit, durations.sum, durations.count) == ("s", 90.75, 2)
    (closed,) = found["mcp.session.connection.closed"].data.data_points
    assert closed.attributes == {
        "mcp.session.server": "/mcp",
        "mcp.session.dialect": "specification",
        "mcp.session.reason": "client",
    }
    metrics.close()
    assert "mcp.session.active_count" not in collected(reader)
    provider.shutdown(timeout_millis=DEADLINE * 1000)
