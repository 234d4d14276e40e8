"""MCP_SESSIONS: its options, what holds where, and what is wrong with it."""

from mcp_sessions.conf.checking import Problem, problems
from mcp_sessions.conf.options import (
    DATABASE_STORE,
    DEFAULT_PATH,
    JSON_SERIALIZER,
    PROCESS_WIDE,
    AppSettings,
    app_settings,
    option_names,
    served_paths,
)
from mcp_sessions.conf.rates import MICROSECONDS, Rate, parse_rate

__all__ = [
    "DATABASE_STORE",
    "DEFAULT_PATH",
    "JSON_SERIALIZER",
    "MICROSECONDS",
    "PROCESS_WIDE",
    "AppSettings",
    "Problem",
    "Rate",
    "app_settings",
    "option_names",
    "parse_rate",
    "problems",
    "served_paths",
]
