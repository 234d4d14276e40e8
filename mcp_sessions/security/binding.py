"""What a session is bound to besides its owner: the address and the User-Agent that it was opened with.

Both are recorded once, at opening, and no later connection changes them. SESSION_BINDING says which of them a
request must share, and whether one that does not is refused or only logged.

Source: the guide's chapter "Session Hijacking Prevention". Its own code stores the fingerprint at each
connection, so that whoever connects last owns the session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Final

from mcp_sessions.conf import AppSettings
from mcp_sessions.exchange import Exchange
from mcp_sessions.records import SessionRecord
from mcp_sessions.security.addresses import client_address

USER_AGENT_LENGTH: Final = 500
"""Characters of a User-Agent that are recorded and compared."""


def origin_of(exchange: Exchange) -> dict[str, str]:
    """Where a session comes from: the metadata that it is opened with."""
    agent = exchange.headers.get("user-agent", "")[:USER_AGENT_LENGTH]
    return {"address": client_address(exchange), "user_agent": agent}


def mismatches(session: SessionRecord, exchange: Exchange) -> Iterator[tuple[str, str]]:
    """(what differs from the session's opening, the policy for it), of what SESSION_BINDING names."""
    binding: Mapping[str, Any] = AppSettings(session.server).SESSION_BINDING
    policies = {what: binding[what] for what in ("address", "user_agent") if binding.get(what)}
    if not policies:
        return
    # By the settings of the session's own endpoint: the request may be another view's of the project.
    comes_from = origin_of(replace(exchange, endpoint=session.server))
    for what, policy in policies.items():
        opened_with = session.metadata.get(what)
        if opened_with is not None and not _is_same(what, str(opened_with), comes_from[what], binding):
            yield what, policy


def _is_same(what: str, one: str, other: str, binding: Mapping[str, Any]) -> bool:
    return one == other or (what == "address" and _share_network(one, other, binding))


def _share_network(one: str, other: str, binding: Mapping[str, Any]) -> bool:
    try:
        return _network(one, binding) == _network(other, binding)
    except ValueError:
        return False


def _network(address: str, binding: Mapping[str, Any]) -> object:
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    length = binding.get(f"ipv{parsed.version}_prefix", parsed.max_prefixlen)
    return ip_network(f"{parsed}/{length}", strict=False)
