"""Sessions in Django's admin."""

from mcp_sessions.admin.refusals import RefusalAdmin
from mcp_sessions.admin.sessions import SessionAdmin

__all__ = ["RefusalAdmin", "SessionAdmin"]
