"""Records as tests need them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from mcp_sessions.records import SessionRecord
from mcp_sessions.testing.store_contract import make_session


def new_session(**changes: Any) -> SessionRecord:
    """A live session of nobody, unless the changes say otherwise."""
    now = timezone.now()
    times = {"created_at": now, "last_accessed_at": now, "expires_at": now + timedelta(hours=1)}
    return make_session(**{"owner": "", **times, **changes})
