"""MCP_SESSIONS: its options, which of them hold where, and what is wrong with it."""

from mcp_sessions.conf.checking import Problem, problems
from mcp_sessions.conf.options.serving import HANDSHAKE_REVISIONS, MODERN_REVISIONS
from mcp_sessions.conf.options.storage import DATABASE_STORE, JSON_SERIALIZER
from mcp_sessions.conf.rates import MICROSECONDS, Rate, parse_rate
from mcp_sessions.conf.settings import (
    DEFAULT_PATH,
    GROUPS,
    OPTIONS,
    AppSettings,
    app_settings,
    handshake_revisions,
    modern_revisions,
    served_paths,
    sse_paths,
)

__all__ = [
    "DATABASE_STORE",
    "DEFAULT_PATH",
    "GROUPS",
    "HANDSHAKE_REVISIONS",
    "JSON_SERIALIZER",
    "MICROSECONDS",
    "MODERN_REVISIONS",
    "OPTIONS",
    "AppSettings",
    "Problem",
    "Rate",
    "app_settings",
    "handshake_revisions",
    "modern_revisions",
    "parse_rate",
    "problems",
    "served_paths",
    "sse_paths",
]
