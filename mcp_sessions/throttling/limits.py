"""RATE_LIMITS: what each limit counts, and for whom."""

from __future__ import annotations

from functools import lru_cache

from mcp_sessions.conf import MICROSECONDS, AppSettings, parse_rate
from mcp_sessions.exceptions import RateLimited, RequestError, StoreUnavailable
from mcp_sessions.exchange import Exchange
from mcp_sessions.records import SessionRecord, principal_of
from mcp_sessions.refusals import report_refusal
from mcp_sessions.runtime import current
from mcp_sessions.security.addresses import client_address
from mcp_sessions.throttling.shares import Shares


async def limit_address(exchange: Exchange, cost: int = 1) -> None:
    """Count messages of a client's address. Raises RateLimited."""
    if _is_limited(exchange, "address"):
        await _limit(exchange, "address", _digest(exchange.endpoint, "", client_address(exchange)), cost)


async def limit_principal(exchange: Exchange, cost: int = 1) -> None:
    """Count messages of a principal; an anonymous one has its address's limit alone. Raises RateLimited."""
    if exchange.owner and _is_limited(exchange, "principal"):
        await _limit(exchange, "principal", _digest(exchange.endpoint, exchange.owner, ""), cost)


async def limit_session(exchange: Exchange, session: SessionRecord, cost: int = 1) -> None:
    """Count messages of a session. Raises RateLimited."""
    if _is_limited(exchange, "session"):
        await _limit(exchange, "session", session.key, cost, session)


async def limit_opening(exchange: Exchange) -> None:
    """Count what opens a session, by the client's address. Raises RateLimited."""
    if _is_limited(exchange, "opening"):
        await _limit(exchange, "opening", _digest(exchange.endpoint, "", client_address(exchange)), 1)


def _is_limited(exchange: Exchange, scope: str) -> bool:
    return AppSettings(exchange.endpoint).RATE_LIMITS.get(scope) is not None


async def _limit(
    exchange: Exchange, scope: str, who: str, cost: int, session: SessionRecord | None = None
) -> None:
    options, shares = AppSettings(exchange.endpoint), current().service(Shares)
    rate, name = parse_rate(options.RATE_LIMITS[scope]), f"{scope}:{who}"
    if cost > rate.burst:
        # Waiting would not help.
        message = f"At most {rate.burst} messages are served at once: send fewer in one batch."
        raise RequestError(400, message, data={"reason": "rate_limited", "scope": scope, "limit": rate.burst})
    try:
        waiting = await shares.admit(name, rate, cost)
    except StoreUnavailable:
        if options.RATE_LIMITS_OUTAGE == "refuse":
            raise
        waiting = shares.admit_alone(name, rate, cost)
    if waiting:
        report_refusal(exchange, "rate_limit", session.key if session else "")
        raise RateLimited(scope, waiting / MICROSECONDS)


_digest = lru_cache(maxsize=4096)(principal_of)
