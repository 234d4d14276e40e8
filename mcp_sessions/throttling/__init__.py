"""Rate limits as requests meet them: a process's own share of each, and what is said of refusals."""

from mcp_sessions.throttling.limits import (
    limit_address,
    limit_opening,
    limit_principal,
    limit_session,
)
from mcp_sessions.throttling.refusals import Refusal, refuse
from mcp_sessions.throttling.shares import SHARE, Shares

__all__ = [
    "SHARE",
    "Refusal",
    "Shares",
    "limit_address",
    "limit_opening",
    "limit_principal",
    "limit_session",
    "refuse",
]
