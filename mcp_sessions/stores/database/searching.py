"""What of a session's metadata has columns of its own, so that operators can search it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcp_sessions.models import ADDRESS_LENGTH, CLIENT_LENGTH
from mcp_sessions.records import client_of

SEARCHED: Final = frozenset({"address", "client"})
"""The names in the metadata that columns are made of."""


def searched(metadata: Mapping[str, Any]) -> dict[str, str]:
    """The columns and their values, from metadata that can be stored. Clients say what they like."""
    return {
        "address": str(metadata.get("address") or "")[:ADDRESS_LENGTH],
        "client": client_of(metadata).lower()[:CLIENT_LENGTH],
    }
