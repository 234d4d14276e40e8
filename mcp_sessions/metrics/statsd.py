"""StatsD, by the guide's names, with tags as DogStatsD writes them."""

from __future__ import annotations

from typing import Any, Final

from datadog.dogstatsd.base import DogStatsd

from mcp_sessions.metrics.named import Labels, NamedMetrics

PREFIX: Final = "mcp.session."
QUIET: Final = {"disable_telemetry": True, "origin_detection_enabled": False}
"""Nothing is sent that is not ours, and nothing that only Datadog's agent can read."""


class StatsDMetrics(NamedMetrics):
    """Sends a datagram for each; durations are milliseconds.

    The options are those of datadog.dogstatsd.DogStatsd: `host`, `port`, `socket_path`, `namespace`,
    `constant_tags`… Without them DD_DOGSTATSD_URL, DD_AGENT_HOST and DD_DOGSTATSD_PORT say where to,
    and else it is 127.0.0.1:8125.
    """

    def __init__(self, **options: Any) -> None:
        self._client = DogStatsd(**{**QUIET, **options})

    def count(self, name: str, labels: Labels, by: int = 1) -> None:
        self._client.increment(PREFIX + name, by, tags=_tags(labels))

    def time(self, seconds: float, labels: Labels) -> None:
        self._client.timing(f"{PREFIX}duration", round(seconds * 1000), tags=_tags(labels))

    def record_active_count(self, count: int) -> None:
        self._client.gauge(f"{PREFIX}active_count", count)

    def close(self) -> None:
        self._client.close_socket()


def _tags(labels: Labels) -> list[str]:
    return [f"{name}:{value}" for name, value in labels.items()]
