"""Sessions in Django's admin."""

from mcp_sessions.admin.sessions import SessionAdmin

__all__ = ["SessionAdmin"]
