"""Who is calling: get_principal() and get_user(), in whatever a request makes a server object do."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from mcp_sessions.exceptions import MCPSessionsError
from mcp_sessions.principals import Principal

current_principal: ContextVar[Principal | None] = ContextVar("mcp_principal", default=None)


def get_principal(ctx: object = None) -> Principal:
    """Who sent the request that is being served; `ctx` is the tool's context, of any server library.

    It is the principal of this request, by the credential that came with it, whatever its session was opened
    with. On an endpoint without authentication it is anonymous. Raises MCPSessionsError outside of a call.
    """
    principal = current_principal.get()
    if principal is None:
        raise MCPSessionsError(
            "There is no call: get_principal() and get_user() work inside tools, resources and prompts."
        )
    return principal


def get_user(ctx: object = None) -> Any:
    """The Django user who sent the request that is being served, or AnonymousUser. It asks no database.

    Raises MCPSessionsError outside of a call.
    """
    from django.contrib.auth.models import AnonymousUser  # once Django's apps are ready

    user = get_principal(ctx).user
    return AnonymousUser() if user is None else user


async def aget_user(ctx: object = None) -> Any:
    """get_user(), for code that is written for Django's own `auser()`."""
    return get_user(ctx)
