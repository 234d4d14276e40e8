"""Whether each endpoint knows its callers: its authenticators work, and know whose tokens they accept."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from mcp_sessions.conf import AppSettings, served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.security.authentication import AllowAnonymous, get_authenticators


def check_authenticators() -> Iterator[CheckMessage]:
    """Those that AUTHENTICATORS names. The mount does not start without one of them."""
    for path in served_paths():
        try:
            if AppSettings(path).AUTHENTICATORS:
                get_authenticators(path)
        except ConfigurationError as error:
            hint = "mcp_sessions.security.authentication has the authenticators."
            yield Error(str(error), hint=hint, obj=path, id="mcp_sessions.E030")


def check_anonymous() -> Iterator[CheckMessage]:
    """For deployment: endpoints that anybody may call, unless that is meant."""
    for path in served_paths():
        if not get_authenticators(path):
            yield Warning(
                "Anybody may call the endpoint: nothing authenticates its clients.",
                hint="Name authenticators in AUTHENTICATORS; where anonymous access is meant, "
                '"mcp_sessions.security.authentication.AllowAnonymous".',
                obj=path,
                id="mcp_sessions.W020",
            )


def check_transport() -> Iterator[CheckMessage]:
    """For deployment: credentials that may come in clear, and pages that may show them."""
    if not any(_takes_credentials(path) for path in served_paths()):
        return
    if not settings.SECURE_SSL_REDIRECT and settings.SECURE_PROXY_SSL_HEADER is None:
        yield Warning(
            "Nothing says that requests come by https: credentials may cross the network in clear.",
            hint="Set SECURE_PROXY_SSL_HEADER if a proxy in front does TLS, else SECURE_SSL_REDIRECT.",
            id="mcp_sessions.W021",
        )
    if settings.DEBUG:
        yield Warning(
            "DEBUG is on: Django's error pages show the headers of requests, and so tokens.",
            hint="Set DEBUG = False.",
            id="mcp_sessions.W022",
        )


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


def _takes_credentials(path: str) -> bool:
    return any(not isinstance(each, AllowAnonymous) for each in get_authenticators(path))


def _checks_audience(path: str) -> bool:
    try:
        return any(each.checks_audience for each in get_authenticators(path))
    except ConfigurationError:
        return False  # E030 says why
