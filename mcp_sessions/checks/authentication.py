"""Whether the authenticators of each endpoint know whose tokens they are to accept."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error

from mcp_sessions.conf import AppSettings, served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.security.authentication import get_authenticators


def check_audiences() -> Iterator[CheckMessage]:
    """Where a token must have been issued for the endpoint's URL, that is not the clients' to choose."""
    if not any(host.startswith(("*", ".")) for host in settings.ALLOWED_HOSTS):
        return
    for path in served_paths():
        if AppSettings(path).AUTHENTICATORS and not AppSettings(path).RESOURCE_URL and _checks_audience(path):
            yield Error(
                "Tokens must be issued for the endpoint's URL, and ALLOWED_HOSTS lets clients choose it: "
                "a token that was issued for another server is accepted together with that one's name.",
                hint="Set RESOURCE_URL to the endpoint's public URL, or name each host in ALLOWED_HOSTS.",
                obj=path,
                id="mcp_sessions.E021",
            )


def _checks_audience(path: str) -> bool:
    try:
        return any(each.checks_audience for each in get_authenticators(path))
    except ConfigurationError:
        return False  # E030 says why
