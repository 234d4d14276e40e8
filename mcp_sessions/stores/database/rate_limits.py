"""Rate limits: one statement that inserts or updates one row, by the database's clock."""

from __future__ import annotations

import time
from typing import Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from mcp_sessions.gcra import Charge, Charged
from mcp_sessions.models import RateLimit
from mcp_sessions.stores.database.statements import change, fetch, table
from mcp_sessions.stores.database.transactions import bounded_wait

TABLE: Final = table(RateLimit)
CLOCKS: Final = {
    "postgresql": "(EXTRACT(EPOCH FROM statement_timestamp()) * 1000000)::bigint",
    "mysql": "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))",
}
"""Microseconds since 1970."""

# MariaDB assigns one column after the other, and what follows sees it: hence the order. A charge that waited
# for the row has an earlier time than the one before it, and so is admitted later, never earlier.
UPSERT: Final = """
INSERT INTO {table} (name, tat, charged_at, is_admitted)
  VALUES (%s, {clock} + {first}, {clock}, {admits_first})
{on_conflict}
  is_admitted = {is_admitted},
  tat = {base} + CASE WHEN {is_admitted} THEN {cost} ELSE 0 END,
  charged_at = {now}
"""
COLUMNS: Final = "tat, charged_at, is_admitted"


def charge_limit(alias: str, charge: Charge) -> Charged:
    with bounded_wait(alias) as connection:
        statement, name = _upsert(connection, charge), [charge.name]
        if connection.features.can_return_columns_from_insert:
            ((tat, at, is_admitted),) = fetch(connection, f"{statement} RETURNING {COLUMNS}", name)
        else:  # MySQL
            with transaction.atomic(using=alias):
                change(connection, statement, name)
                found = fetch(connection, f"SELECT {COLUMNS} FROM {TABLE} WHERE name = %s", name)
                ((tat, at, is_admitted),) = found
        return Charged(bool(is_admitted), tat - at)


def _upsert(connection: BaseDatabaseWrapper, charge: Charge) -> str:
    """Numbers are put into the statement as they are."""
    is_mysql, interval = connection.vendor == "mysql", charge.rate.interval
    spent, cost, burst = (n * interval for n in (charge.spent, charge.cost, charge.rate.burst))
    now = "VALUES(charged_at)" if is_mysql else "excluded.charged_at"
    base = f"{'MAX' if connection.vendor == 'sqlite' else 'GREATEST'}({TABLE}.tat, {now}) + {spent}"
    admits_first = spent + cost <= burst
    return UPSERT.format(
        table=TABLE,
        clock=_clock(connection),
        first=spent + cost if admits_first else spent,
        admits_first="TRUE" if admits_first else "FALSE",
        on_conflict="ON DUPLICATE KEY UPDATE" if is_mysql else "ON CONFLICT (name) DO UPDATE SET",
        is_admitted=f"{base} + {cost} <= {now} + {burst}",
        base=base,
        cost=cost,
        now=now,
    )


def _clock(connection: BaseDatabaseWrapper) -> str:
    """As SQL. A database in a file has the clock of its only machine."""
    return CLOCKS.get(connection.vendor) or str(time.time_ns() // 1000)


def delete_unused(alias: str, limit: int) -> bool:
    """Delete limits against which nothing counts any more, so many at once. Whether there may be more."""
    with bounded_wait(alias) as connection:
        unused = f"tat < {_clock(connection)}"
        found = fetch(connection, f"SELECT id FROM {TABLE} WHERE {unused} LIMIT {limit}", [])
        if ids := [str(id) for (id,) in sorted(found)]:
            # Somebody may have been charged meanwhile.
            change(connection, f"DELETE FROM {TABLE} WHERE id IN ({', '.join(ids)}) AND {unused}", [])
        return len(found) == limit
