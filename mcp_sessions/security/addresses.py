"""Where a request comes from, behind proxies too.

A proxy appends to X-Forwarded-For whom it was called by. What stands to the left of what the
trusted ones have appended is the client's own writing, and counts for nothing.
"""

from __future__ import annotations

from ipaddress import ip_address

from mcp_sessions.conf import AppSettings
from mcp_sessions.exchange import Exchange


def client_address(exchange: Exchange) -> str:
    """The client's address: the peer's, or the one that the first of TRUSTED_PROXIES was called by.

    It is the peer's as well if that entry is not there, or no address; "" if that is none either
    (of a Unix socket, or made up by a client whom the server believes).
    """
    proxies: int = AppSettings(exchange.endpoint).TRUSTED_PROXIES
    entries = exchange.headers.get("x-forwarded-for", "").split(",")
    named = _address_in(entries[-proxies].strip()) if 0 < proxies <= len(entries) else None
    return named or _address_in(exchange.address) or ""


def _address_in(entry: str) -> str | None:
    """The address of `1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]` or `[::1]:567`."""
    if entry.startswith("["):
        entry = entry[1:].partition("]")[0]
    elif entry.count(":") == 1:
        entry = entry.partition(":")[0]
    try:
        return str(ip_address(entry))
    except ValueError:
        return None
