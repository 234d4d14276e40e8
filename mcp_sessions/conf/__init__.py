"""MCP_SESSIONS: its options, what holds where, and what is wrong with it."""

from mcp_sessions.conf.checking import Problem, problems
from mcp_sessions.conf.options import (
    DATABASE_STORE,
    DEFAULT_PATH,
    HANDSHAKE_REVISIONS,
    JSON_SERIALIZER,
    MODERN_REVISIONS,
    PROCESS_WIDE,
    AppSettings,
    app_settings,
    handshake_revisions,
    modern_revisions,
    option_names,
    served_paths,
)
from mcp_sessions.conf.rates import MICROSECONDS, Rate, parse_rate

__all__ = [
    "DATABASE_STORE",
    "DEFAULT_PATH",
    "HANDSHAKE_REVISIONS",
    "JSON_SERIALIZER",
    "MICROSECONDS",
    "MODERN_REVISIONS",
    "PROCESS_WIDE",
    "AppSettings",
    "Problem",
    "Rate",
    "app_settings",
    "handshake_revisions",
    "modern_revisions",
    "option_names",
    "parse_rate",
    "problems",
    "served_paths",
]
