"""Prometheus: metrics of one process, or, with PROMETHEUS_MULTIPROC_DIR, of all that share that directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.metrics.counting import count_active
from mcp_sessions.metrics.named import (
    ACTIVE_COUNT,
    BUCKETS,
    COUNTERS,
    DURATION,
    LABELS,
    Labels,
    NamedMetrics,
    label_names,
)

PREFIX: Final = "mcp_session_"
DIRECTORY: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The library's own environment variable: each process keeps its counters in files there."""


class PrometheusMetrics(NamedMetrics):
    """`buckets`: the upper bounds of the classes of durations, in seconds. `registry`: another than the
    library's, for one process alone; where several share a directory, all that is in it is shown.
    """

    def __init__(self, buckets: Sequence[float] = BUCKETS, registry: CollectorRegistry | None = None) -> None:
        self.shared_by_processes = _is_shared()
        self._registry = registry or REGISTRY
        self._counters = {name: _counter(name) for name in COUNTERS}
        self._durations = Histogram(
            f"{PREFIX}duration_seconds", DURATION, LABELS, registry=None, buckets=buckets
        )
        self._active = ActiveSessions()
        for each in self._collectors():
            self._registry.register(each)

    def count(self, name: str, labels: Labels, by: int = 1) -> None:
        self._counters[name].labels(**labels).inc(by)

    def time(self, seconds: float, labels: Labels) -> None:
        self._durations.labels(**labels).observe(seconds)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """What Prometheus reads, in the form that its Accept header asks for; (body, content type)."""
        encode, content_type = choose_encoder(accept)
        return encode(self._all_processes() if self.shared_by_processes else self._registry), content_type

    def close(self) -> None:
        for each in self._collectors():
            self._registry.unregister(each)

    def _collectors(self) -> list[Collector]:
        return [*self._counters.values(), self._durations, self._active]

    def _all_processes(self) -> CollectorRegistry:
        """What every process has counted, dead ones too; and what lives, which the store knows for all."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        registry.register(self._active)
        return registry


class ActiveSessions:
    """A collector for the live sessions of the whole cluster, counted when they are asked for."""

    def describe(self) -> list[Metric]:
        return [GaugeMetricFamily(f"{PREFIX}active", ACTIVE_COUNT)]

    def collect(self) -> Iterator[Metric]:
        count = count_active()
        if count is not None:
            yield GaugeMetricFamily(f"{PREFIX}active", ACTIVE_COUNT, count)


def _is_shared() -> bool:
    directory = os.environ.get(DIRECTORY)
    if directory and not Path(directory).is_dir():
        raise ConfigurationError(f"{DIRECTORY} is no directory: {directory}")
    return bool(directory)


def _counter(name: str) -> Counter:
    return Counter(PREFIX + name.replace(".", "_"), COUNTERS[name], label_names(name), registry=None)
