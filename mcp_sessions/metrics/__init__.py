"""Metrics: receivers of the signals, one backend a file, chosen by SESSION_METRICS and loaded late."""

from mcp_sessions.metrics.base import SessionMetrics
from mcp_sessions.metrics.counting import count_active
from mcp_sessions.metrics.loading import Made, chosen, forget_metrics, get_made, get_metrics
from mcp_sessions.metrics.receiving import Recording, listen, recordings, wants_active_count

__all__ = [
    "Made",
    "Recording",
    "SessionMetrics",
    "chosen",
    "count_active",
    "forget_metrics",
    "get_made",
    "get_metrics",
    "listen",
    "recordings",
    "wants_active_count",
]
