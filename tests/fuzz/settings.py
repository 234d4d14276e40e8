"""Settings of a process that is fuzzed: sessions in memory, two principals, bounds that are soon reached."""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from tests.settings import *  # noqa: F403

TOKENS: Final = {"me": "token-of-me-0123456789", "stranger": "token-of-the-stranger-0123456789"}

MCP_SESSIONS: dict[str, Any] = {
    "SERVERS": {
        "/mcp": "tests.fuzz.server:server",
        "/handshake": {"SERVER": "tests.fuzz.server:server", "REVISIONS": ["2025-03-26", "2025-11-25"]},
    },
    "AUTHENTICATORS": [
        {
            "BACKEND": "mcp_sessions.security.authentication.StaticTokens",
            "OPTIONS": {
                "tokens": {name: sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}
            },
        }
    ],
    "SESSION_STORE": {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"},
    "SESSION_ROWS": False,
    "SESSION_CLEANUP_INTERVAL": 10**9,
    "RATE_LIMITS": {},
    "ALLOWED_ORIGINS": ["https://app.example"],
    "TRUSTED_PROXIES": 1,
    "MAX_BODY_BYTES": 20_000,
    "MAX_HEADER_BYTES": 4096,
    "MAX_DEPTH": 20,
    "MAX_BATCH": 5,
    "DRAIN_SECONDS": 0.1,
    "BODY_SECONDS": 5,
}
