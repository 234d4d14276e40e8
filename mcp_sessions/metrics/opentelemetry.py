"""OpenTelemetry, through its API: which SDK and exporter there are is the project's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter

from mcp_sessions.metrics.counting import count_active
from mcp_sessions.metrics.named import ACTIVE_COUNT, BUCKETS, COUNTERS, DURATION, Labels, NamedMetrics

PREFIX: Final = "mcp.session."


class OpenTelemetryMetrics(NamedMetrics):
    """`meter_provider`: another than the process's own. Durations are seconds."""

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        meter = get_meter("mcp_sessions", meter_provider=meter_provider)
        self._is_closed = False
        self._counters = {
            name: meter.create_counter(PREFIX + name, _unit(name), text) for name, text in COUNTERS.items()
        }
        self._durations = meter.create_histogram(
            f"{PREFIX}duration", "s", DURATION, explicit_bucket_boundaries_advisory=BUCKETS
        )
        self._observe_active(meter)

    def count(self, name: str, labels: Labels, by: int = 1) -> None:
        self._counters[name].add(by, _attributes(labels))

    def time(self, seconds: float, labels: Labels) -> None:
        self._durations.record(seconds, _attributes(labels))

    def close(self) -> None:
        # An instrument cannot be taken back.
        self._is_closed = True

    def _observe_active(self, meter: Meter) -> None:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            count = None if self._is_closed else count_active()
            return [] if count is None else [Observation(count)]

        # A gauge: every process observes the whole cluster, so it must not be added up.
        meter.create_observable_gauge(f"{PREFIX}active_count", [observe], "{session}", ACTIVE_COUNT)


def _unit(name: str) -> str:
    if name == "refused":
        return "{request}"
    return "{connection}" if name.startswith("connection.") else "{session}"


def _attributes(labels: Labels) -> dict[str, str]:
    # With the prefix: `server` is a namespace in OpenTelemetry's conventions.
    return {PREFIX + name: value for name, value in labels.items()}
