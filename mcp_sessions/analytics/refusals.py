"""Refused requests, as operators see them: one row for those of an hour that are alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Final, TypedDict

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet, Sum
from django.utils import timezone

from mcp_sessions.analytics.aggregates import HOUR, hour_of
from mcp_sessions.analytics.errors import with_store_errors
from mcp_sessions.conf import app_settings
from mcp_sessions.models import RefusalHour
from mcp_sessions.records import RefusalCount
from mcp_sessions.stores import get_row_keeper

COMMON: Final = ("hour", "server", "reason", "address", "owner", "key")
"""The columns of which each row has other values."""

TABLE: Final = str(RefusalHour._meta.db_table)
FIELDS: Final = [field for field in RefusalHour._meta.concrete_fields if not field.primary_key]
UPSERT: Final = """
INSERT INTO {table} ({columns}) VALUES ({marks})
{on_conflict} {count} = {table}.{count} + {new_count}, last_at = {last_at}
"""


class RefusedInHour(TypedDict):
    """How many requests of one hour were refused, by reason."""

    at: datetime
    counts: dict[str, int]


async def astore_refusals(counted: Sequence[RefusalCount]) -> None:
    """Add these to the rows of their hours; all of them or none. Raises StoreUnavailable."""
    if counted and (rows := get_row_keeper()) is not None:
        await rows.arun(with_store_errors, rows.alias, store_refusals, rows.alias, counted)


def store_refusals(alias: str, counted: Iterable[RefusalCount]) -> None:
    """The same in this database, for synchronous code."""
    # In one order, so that two processes wait for each other and never both.
    rows = sorted((_row(each) for each in counted), key=attrgetter("name"))
    connection = connections[alias]
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        cursor.executemany(_upsert(connection), [_values(connection, row) for row in rows])


def _upsert(connection: BaseDatabaseWrapper) -> str:
    """It adds to the row that is there. It reads nothing first: on SQLite, what reads may not write later."""
    is_mysql, quoted = connection.vendor == "mysql", connection.ops.quote_name
    later = "MAX" if connection.vendor == "sqlite" else "GREATEST"
    return UPSERT.format(
        table=TABLE,
        columns=", ".join(quoted(field.attname) for field in FIELDS),
        marks=", ".join(["%s"] * len(FIELDS)),
        on_conflict="ON DUPLICATE KEY UPDATE" if is_mysql else "ON CONFLICT (name) DO UPDATE SET",
        count=quoted("count"),
        new_count="VALUES(`count`)" if is_mysql else 'excluded."count"',
        last_at=f"{later}({TABLE}.last_at, {'VALUES(last_at)' if is_mysql else 'excluded.last_at'})",
    )


def _values(connection: BaseDatabaseWrapper, row: RefusalHour) -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in FIELDS]


def _row(counted: RefusalCount) -> RefusalHour:
    refusal = counted.refusal
    row = RefusalHour(
        hour=hour_of(counted.last_at),
        server=refusal.server[:200],
        reason=refusal.reason[:32],
        address=refusal.address[:64],
        owner=refusal.owner[:255],
        key=refusal.key[:32],
        count=refusal.count,
        last_at=counted.last_at,
    )
    common = json.dumps([str(getattr(row, name)) for name in COMMON])
    row.name = hashlib.sha256(common.encode()).hexdigest()
    return row


def refusals(alias: str, server: str = "") -> QuerySet[RefusalHour]:
    """The rows, the newest first; of one endpoint, or of all ("")."""
    rows = RefusalHour.objects.using(alias).order_by("-last_at", "-pk")
    return rows.filter(server=server) if server else rows


def refusals_about(alias: str, key: str, owner: str) -> QuerySet[RefusalHour]:
    """Those of requests that named this session, and those of its owner's."""
    is_about = Q(key=key) | Q(owner=owner) if owner else Q(key=key)
    return refusals(alias).filter(is_about)


def refused_by_hour(alias: str, server: str, since: datetime, until: datetime) -> list[RefusedInHour]:
    """Every hour of a span, also where nothing was refused."""
    first, counts = hour_of(since), dict[datetime, dict[str, int]]()
    rows = refusals(alias, server).filter(hour__gte=first, hour__lt=until).order_by("hour", "reason")
    for hour, reason, count in rows.values_list("hour", "reason").annotate(total=Sum("count")):
        counts.setdefault(hour, {})[reason] = count
    hours = int((until - first) / HOUR) + 1
    steps = (first + number * HOUR for number in range(hours))
    return [RefusedInHour(at=at, counts=counts.get(at, {})) for at in steps if at < until]


async def apurge_refusals(limit: int) -> int:
    """Delete at most `limit` rows of hours that began KEEP_REFUSALS_SECONDS ago or earlier; how many."""
    rows = get_row_keeper()
    if rows is None:
        return 0
    before = timezone.now() - timedelta(seconds=app_settings.KEEP_REFUSALS_SECONDS)
    return await rows.arun(with_store_errors, rows.alias, purge_refusals, rows.alias, before, limit)


def purge_refusals(alias: str, before: datetime, limit: int) -> int:
    """The same in this database, for synchronous code."""
    rows = RefusalHour.objects.using(alias)
    old: list[Any] = list(rows.filter(last_at__lte=before).values_list("pk", flat=True)[:limit])
    with transaction.atomic(using=alias):
        return rows.filter(pk__in=old).delete()[0] if old else 0
