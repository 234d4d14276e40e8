"""The options of MCP_SESSIONS: one module for each group of docs/settings.md."""
