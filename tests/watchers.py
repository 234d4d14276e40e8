"""Functions that MAY_WATCH names, and what they were asked."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.models import User

from mcp_sessions.principals import Principal
from mcp_sessions.security.watching import Watched

asked: Final[list[tuple[str | None, str, Watched]]] = []


def may_watch(principal: Principal, endpoint: str, watched: Watched) -> bool:
    """Notes of others are nobody's business; it may use the ORM."""
    asked.append((principal.user_id, endpoint, watched))
    User.objects.exists()
    return not any(uri.startswith("secret://") for uri in watched.resources)


async def amay_watch(principal: Principal, endpoint: str, watched: Watched) -> bool:
    asked.append((principal.user_id, endpoint, watched))
    return await User.objects.acount() == 0 and "secret://1" not in watched.resources


def fails(principal: Principal, endpoint: str, watched: Watched) -> Any:
    raise SystemExit("a mistake of the author's")


def forgets(principal: Principal, endpoint: str, watched: Watched) -> None:
    """To say whether."""
