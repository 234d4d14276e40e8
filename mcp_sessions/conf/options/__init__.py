"""The options of MCP_SESSIONS: one module for each group of the page of settings."""
