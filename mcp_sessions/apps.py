"""What Django knows this app by."""

from __future__ import annotations

from django.apps import AppConfig


class MCPSessionsConfig(AppConfig):
    name = "mcp_sessions"
    label = "mcp_sessions"
    verbose_name = "MCP sessions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from mcp_sessions import checks  # noqa: F401  registered by being imported
