"""What server objects bring of their own: authentication, and routes that the mount serves."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Error, Info

from mcp_sessions.checks.serving import problem_of_mount
from mcp_sessions.conf import AppSettings, served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.protocol.routes import clashes, paths_of
from mcp_sessions.security.authentication import get_authenticators
from mcp_sessions.security.serverauth import server_auth


def check_server_auth() -> Iterator[CheckMessage]:
    """Authenticators that cannot be made, and authentication that cannot be honoured."""
    for endpoint in served_paths():
        try:
            own = server_auth(endpoint)
            if not AppSettings(endpoint).AUTHENTICATORS:
                get_authenticators(endpoint)
        except ConfigurationError as error:
            hint = "mcp_sessions.security.authentication has the authenticators."
            yield Error(str(error), hint=hint, obj=endpoint, id="mcp_sessions.E030")
            continue
        if own is not None and AppSettings(endpoint).AUTHENTICATORS:
            yield Info(
                "The server object brings auth, and AUTHENTICATORS replaces it.",
                hint="Name the verifier in AUTHENTICATORS too, or leave AUTHENTICATORS out.",
                obj=endpoint,
                id="mcp_sessions.I001",
            )


def check_server_routes() -> Iterator[CheckMessage]:
    """Routes of server objects that nothing serves, or that hide each other."""
    for clash in clashes():
        yield Error(clash, hint="Serve one of them elsewhere.", id="mcp_sessions.E031")
    for endpoint in served_paths():
        if (paths := paths_of(endpoint)) and (problem := problem_of_mount()) is not None:
            yield Error(
                f"The server object has routes ({', '.join(paths)}) that only the mount serves: {problem}.",
                hint="In asgi.py, write application = mount(get_asgi_application()).",
                obj=endpoint,
                id="mcp_sessions.E032",
            )
