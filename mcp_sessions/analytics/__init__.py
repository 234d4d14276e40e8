"""Aggregates of sessions: from their rows, and from the hourly counts of sessions whose rows are deleted."""

from mcp_sessions.analytics.hours import amake_deletable, aroll_up, kept_since
from mcp_sessions.analytics.listing import CHOICES as STATE_CHOICES
from mcp_sessions.analytics.listing import Wanted, list_sessions, live_keys_at
from mcp_sessions.analytics.refusals import apurge_refusals, astore_refusals
from mcp_sessions.analytics.statistics import SessionAnalytics, SessionStatistics

__all__ = [
    "STATE_CHOICES",
    "SessionAnalytics",
    "SessionStatistics",
    "Wanted",
    "amake_deletable",
    "apurge_refusals",
    "aroll_up",
    "astore_refusals",
    "kept_since",
    "list_sessions",
    "live_keys_at",
]
