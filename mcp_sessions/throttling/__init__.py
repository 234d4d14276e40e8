"""Rate limits as requests meet them: what each counts, and a process's own share of it."""

from mcp_sessions.throttling.limits import (
    limit_address,
    limit_opening,
    limit_principal,
    limit_session,
)
from mcp_sessions.throttling.shares import SHARE, Shares
from mcp_sessions.throttling.streams import limit_streams

__all__ = [
    "SHARE",
    "Shares",
    "limit_address",
    "limit_opening",
    "limit_principal",
    "limit_session",
    "limit_streams",
]
