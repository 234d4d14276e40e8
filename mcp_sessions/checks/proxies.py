"""Whether the app can distinguish anonymous clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage, Warning

from mcp_sessions.conf import AppSettings, served_paths

SIGNS: Final = ("SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST", "USE_X_FORWARDED_PORT")
"""Django's settings that nobody has without a proxy in front."""


def check_proxies() -> Iterator[CheckMessage]:
    """Only where the project itself says that there is a proxy.

    Where there is none a warning would mislead: whoever made it go away by trusting a proxy that
    is not there would let every client choose its address.
    """
    if (sign := next((name for name in SIGNS if getattr(settings, name, None)), None)) is None:
        return
    for path in served_paths():
        options = AppSettings(path)
        if options.TRUSTED_PROXIES == 0 and options.SESSION_BINDING.get("address"):
            yield Warning(
                f"{sign} speaks of a proxy, and TRUSTED_PROXIES is 0: every session is bound to the proxy's "
                "address, which all clients have.",
                hint="Set TRUSTED_PROXIES to the number of proxies that every request comes through, "
                'or leave "address" out of SESSION_BINDING.',
                obj=path,
                id="mcp_sessions.W015",
            )
        if options.TRUSTED_PROXIES == 0 and (limits := limits_of_addresses(path)):
            yield Warning(
                f"{sign} speaks of a proxy, and TRUSTED_PROXIES is 0: all anonymous clients may have one "
                f"address, and share its limits ({limits}).",
                hint="Set TRUSTED_PROXIES to the number of proxies that every request comes through, "
                "or these limits to None.",
                obj=path,
                id="mcp_sessions.W003",
            )


def limits_of_addresses(path: str) -> str:
    """The limits of the endpoint that are an address's, by name."""
    options = AppSettings(path)
    limits = {
        "MAX_SESSIONS_PER_CLIENT": options.MAX_SESSIONS_PER_CLIENT,
        **{f'RATE_LIMITS["{name}"]': options.RATE_LIMITS.get(name) for name in ("address", "opening")},
    }
    return ", ".join(name for name, value in limits.items() if value is not None)
