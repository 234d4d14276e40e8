"""System checks: what is wrong with MCP_SESSIONS is said at the start, with what to do about it.

None of them opens a connection: a project is checked where its databases cannot be reached, too.
Each check imports what it looks at when it runs: `django.setup()` needs none of it, the SDK least of all.
"""

from __future__ import annotations

from typing import Any

from django.core import checks
from django.core.checks import ERROR, CheckMessage, Error

from mcp_sessions.conf import problems


@checks.register("mcp_sessions")
def check_settings(**_: Any) -> list[CheckMessage]:
    """Every option known and possible; what they name is there and works; none makes another useless."""
    from mcp_sessions.checks.endpoints import check_servers, check_urls
    from mcp_sessions.checks.lifetimes import check_lifetimes
    from mcp_sessions.checks.serverauth import check_server_auth, check_server_routes
    from mcp_sessions.checks.serving import check_serving

    found = check_configuration()
    if problems():
        return found
    servers = list(check_servers())
    # What cannot be loaded brings nothing.
    own = [] if servers else [*check_server_auth(), *check_server_routes()]
    return [*servers, *own, *check_urls(), *check_serving(), *found, *check_lifetimes()]


def check_configuration() -> list[CheckMessage]:
    """What the mount does not start with either; server objects fail its lifespan, each with its name."""
    from mcp_sessions.checks.authentication import check_audiences, check_authenticators
    from mcp_sessions.checks.endpoints import check_generators
    from mcp_sessions.checks.lifetimes import check_time_zones
    from mcp_sessions.checks.metrics import check_metrics
    from mcp_sessions.checks.stores import check_channel_layer, check_serializer, check_store

    found: list[CheckMessage] = [
        Error(problem.message, hint=problem.hint, id=f"mcp_sessions.{problem.id}") for problem in problems()
    ]
    return found or [
        *(*check_generators(), *check_store(), *check_serializer(), *check_channel_layer()),
        *(*check_metrics(), *check_authenticators(), *check_audiences()),
        *check_time_zones(),
    ]


@checks.register("mcp_sessions", deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """What is harmless on a developer's machine only."""
    from mcp_sessions.checks.proxies import check_proxies

    return [] if problems() else list(check_proxies())


@checks.register("mcp_sessions", deploy=True)
def check_exposure(**_: Any) -> list[CheckMessage]:
    """Who may call the endpoints from the internet, and whether their credentials stay secret on the way."""
    from mcp_sessions.checks.authentication import check_anonymous, check_transport

    has_errors = any(each.level >= ERROR for each in check_settings())
    return [] if has_errors else [*check_anonymous(), *check_transport()]
