"""Hours are counted once they are over, and what was counted outlives the sessions.

An hour can be counted when nothing that is counted of it changes any more: when its last minutes
are well past, and every session is ended whose time ran out in it. Its rows are stored by one
transaction; a second one, for whatever reason, changes nothing. So it may be done by several
processes at once, and be interrupted anywhere. Sessions are deleted only of counted hours, and these
are marked before the first is deleted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import Final

from django.db import IntegrityError, transaction
from django.db.models import Max, Min, QuerySet
from django.utils import timezone

from mcp_sessions.analytics.aggregates import HOUR, Aggregates, hour_of
from mcp_sessions.analytics.errors import with_store_errors
from mcp_sessions.analytics.queries import MICROSECOND
from mcp_sessions.analytics.rows import Rows
from mcp_sessions.conf import app_settings
from mcp_sessions.models import Session, SessionHour
from mcp_sessions.stores import get_row_keeper

LATE: Final = timedelta(minutes=5)
"""So late, at most, are workers' clocks, and rows that tell of sessions that another store has."""
MAX_HOURS: Final = 7 * 24
"""Counted by one call: the rest is for the next one."""
MAX_AGE: Final = timedelta(days=31)
"""When hours are counted for the first time, none is from before that."""

COLUMNS: Final = [field.name for field in fields(Aggregates)]

logger = logging.getLogger("mcp_sessions.analytics")


def _last(hours: QuerySet[SessionHour]) -> datetime | None:
    last: datetime | None = hours.aggregate(last=Max("hour"))["last"]
    return last


def first_counted(alias: str) -> datetime | None:
    first: datetime | None = all_hours(alias).aggregate(first=Min("hour"))["first"]
    return first


def all_hours(alias: str) -> QuerySet[SessionHour]:
    """What was counted of all endpoints together."""
    return SessionHour.objects.using(alias).filter(server="")


async def aroll_up() -> int:
    """Count the hours that are over; how many were new. None are while rows are not kept until then."""
    rows = get_row_keeper()
    if rows is None or not app_settings.KEEP_ENDED_SECONDS:
        return 0
    return await rows.arun(with_store_errors, rows.alias, roll_up, rows.alias, timezone.now())


def roll_up(alias: str, now: datetime) -> int:
    """`aroll_up` on this database, for synchronous code."""
    counted, hour, until = 0, _first_uncounted(alias, now), _settled(alias, now)
    while hour is not None and hour + HOUR <= until and counted < MAX_HOURS:
        store(alias, hour)
        counted, hour = counted + 1, hour + HOUR
    return counted


def _first_uncounted(alias: str, now: datetime) -> datetime | None:
    if (last := _last(all_hours(alias))) is not None:
        return last + HOUR
    oldest = Session.objects.using(alias).aggregate(oldest=Min("created_at"))["oldest"]
    return None if oldest is None else hour_of(max(oldest, now - MAX_AGE))


def _settled(alias: str, now: datetime) -> datetime:
    """Before this instant nothing changes any more."""
    unended = Session.objects.using(alias).unended()
    next_end = unended.aggregate(next=Min("expires_at"))["next"]
    return min(now - LATE, next_end or now)


def store(alias: str, hour: datetime) -> None:
    """Count an hour; nothing happens if somebody else has done it already."""
    servers = ["", *Rows(alias).servers(hour, hour + HOUR)]
    rows = [_row(hour, server, measured(Rows(alias, server), hour)) for server in servers]
    try:
        with transaction.atomic(using=alias):
            SessionHour.objects.using(alias).bulk_create(rows)
    except IntegrityError:
        logger.debug("another process has counted the hour %s", hour)


def measured(rows: Rows, hour: datetime) -> Aggregates:
    """What the rows of sessions say of an hour."""
    figures, _ = rows.measured(hour, hour + HOUR, HOUR)
    return replace(figures, durations=rows.durations(hour, hour + HOUR))


def _row(hour: datetime, server: str, figures: Aggregates) -> SessionHour:
    return SessionHour(hour=hour, server=server, **{name: getattr(figures, name) for name in COLUMNS})


def figures_of(row: SessionHour) -> Aggregates:
    columns = {name: getattr(row, name) for name in COLUMNS}
    durations = {int(number): count for number, count in row.durations.items()}
    return Aggregates(**{**columns, "durations": durations})


def counted_until(alias: str) -> datetime | None:
    last = _last(all_hours(alias))
    return None if last is None else last + HOUR


def deleted_until(alias: str) -> datetime | None:
    """Sessions that ended before this instant may be gone; None: none was deleted yet."""
    last = _last(all_hours(alias).filter(is_purged=True))
    return None if last is None else last + HOUR


def counted_hours(alias: str, server: str, since: datetime, until: datetime) -> Sequence[SessionHour]:
    """The rows of whole hours, in order; an endpoint has none for hours without sessions of it."""
    rows = SessionHour.objects.using(alias).filter(server=server, hour__gte=since, hour__lt=until)
    return list(rows.order_by("hour"))


def kept_since(now: datetime) -> datetime:
    """Sessions that ended at this instant, or before it, can be deleted once their hours are counted."""
    keep = app_settings.KEEP_ENDED_SECONDS
    return hour_of(now - timedelta(seconds=keep)) - MICROSECOND if keep else now


async def amake_deletable() -> datetime | None:
    """The instant at which, or before which, sessions ended that can be deleted from now on. None: none can.

    They are in hours that were counted, and ended KEEP_ENDED_SECONDS ago.
    """
    rows, keep, now = get_row_keeper(), app_settings.KEEP_ENDED_SECONDS, timezone.now()
    if rows is None or not keep:
        return now
    before = now - timedelta(seconds=keep)
    return await rows.arun(with_store_errors, rows.alias, make_deletable, rows.alias, before)


def make_deletable(alias: str, before: datetime) -> datetime | None:
    """The same on this database, of sessions that ended before an instant."""
    last = _last(all_hours(alias).filter(hour__lte=hour_of(before) - HOUR))
    if last is None:
        return None
    # First marked, then deleted: what is measured from now on does without the sessions of these hours.
    with transaction.atomic(using=alias):
        SessionHour.objects.using(alias).filter(hour__lte=last, is_purged=False).update(is_purged=True)
    return last + HOUR - MICROSECOND
