"""Which sessions there are: rows that operators ask for by what has an index, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.utils import timezone

from mcp_sessions.analytics.errors import with_store_errors
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.models import STATES, Session
from mcp_sessions.records import client_of
from mcp_sessions.stores import get_row_keeper

ALL: Final = "all"
COLUMNS: Final = (
    *("key", "state", "server", "owner", "client", "address", "protocol_version", "dialect"),
    *("created_at", "last_accessed_at", "expires_at", "ended_at", "end_reason", "requests", "connections"),
)
"""What facts_of() says of a session."""
CHOICES: Final = (*STATES, ALL)
BEGINNINGS: Final = (".", ":")
"""How the beginning of addresses ends, as an address itself does not."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions: in this state, at this endpoint, whose client and address begin so; "" is any."""

    state: str = "live"
    server: str = ""
    client: str = ""
    address: str = ""


def list_sessions(wanted: Wanted, limit: int) -> tuple[Sequence[dict[str, Any]], bool]:
    """(at most `limit` of them, whether there are more). Beside another store they are as their rows say.

    Raises ConfigurationError where there are no rows, and StoreUnavailable.
    """
    alias = _alias()
    return with_store_errors(alias, _list, alias, wanted, limit)


def live_keys_at(address: str) -> Sequence[str]:
    """Keys of the live sessions of one address; of all that begin so, if it ends with "." or ":".

    Raises ConfigurationError where there are no rows, and StoreUnavailable.
    """
    alias = _alias()
    return with_store_errors(alias, _live_keys_at, alias, address)


def _alias() -> str:
    if (keeper := get_row_keeper()) is None:
        raise ConfigurationError("There is no list of sessions without their rows: SESSION_ROWS is off.")
    return keeper.alias


def _live_keys_at(alias: str, address: str) -> Sequence[str]:
    rows = Session.objects.using(alias).in_state("live", timezone.now())
    is_beginning = address.endswith(BEGINNINGS)
    found = rows.filter(address__startswith=address) if is_beginning else rows.filter(address=address)
    return list(found.values_list("key", flat=True))


def _list(alias: str, wanted: Wanted, limit: int) -> tuple[Sequence[dict[str, Any]], bool]:
    now, rows = timezone.now(), Session.objects.using(alias).defer("data").newest_first()
    if wanted.state != ALL:
        rows = rows.in_state(wanted.state, now)
    if wanted.server:
        rows = rows.filter(server=wanted.server)
    rows = rows.filter(client__startswith=wanted.client.lower(), address__startswith=wanted.address)
    found = list(rows[: limit + 1])
    return [facts_of(row, now) for row in found[:limit]], len(found) > limit


def facts_of(row: Session, now: datetime) -> dict[str, Any]:
    metadata = row.metadata if isinstance(row.metadata, dict) else {}
    return {
        "key": row.key,
        "state": row.state_at(now),
        "server": row.server,
        "owner": row.owner,
        "client": client_of(metadata),
        "address": row.address,
        "protocol_version": str(metadata.get("protocol_version") or ""),
        "dialect": str(metadata.get("dialect") or ""),
        "created_at": row.created_at,
        "last_accessed_at": row.last_accessed_at,
        "expires_at": row.expires_at,
        "ended_at": row.ended_at,
        "end_reason": row.end_reason,
        "requests": row.requests,
        "connections": row.connections,
    }
