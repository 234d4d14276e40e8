"""Figures, hours and the operators' commands."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from io import StringIO
from typing import Final

from django.core.management import call_command
from django.utils import timezone

from mcp_sessions import lifecycle
from mcp_sessions.analytics import SessionAnalytics
from mcp_sessions.analytics.aggregates import HOUR, hour_of
from mcp_sessions.analytics.hours import measured
from mcp_sessions.analytics.rows import Rows
from mcp_sessions.models import Session
from mcp_sessions.stores import get_store
from tests.bench.measuring import Step

TIMEFRAMES: Final = {"an hour": HOUR, "a day": timedelta(days=1), "a week": timedelta(days=7)}
ALIAS: Final = "default"


def counting() -> Iterator[Step]:
    """All hours that are over, once: as when the app's figures are asked for the first time."""
    hour = hour_of(timezone.now()) - 2 * HOUR
    yield Step("counting one hour", partial(_count_hour, hour))
    yield Step("counting all hours (aroll_up)", _roll_up, once=True)


def steps() -> Iterator[Step]:
    for name, timeframe in TIMEFRAMES.items():
        for server in ("", "/mcp"):
            of = f" of {server}" if server else ""
            yield Step(f"session_stats, {name}{of}", partial(_stats, timeframe, server, quick=False))
            yield Step(f"session_stats, {name}{of}, quick", partial(_stats, timeframe, server, quick=True))
    yield Step("statistics of the store", _statistics)
    yield Step("command: mcp_session_stats", partial(_command, "mcp_session_stats"))
    key = Session.objects.order_by("pk")[2].key
    yield Step("command: inspect_mcp_session", partial(_command, "inspect_mcp_session", key))


def afterwards() -> Iterator[Step]:
    """From counted hours as far back as sessions are deleted."""
    for name, timeframe in TIMEFRAMES.items():
        yield Step(f"session_stats, {name}, after the purge", partial(_stats, timeframe, "", quick=False))


def _count_hour(hour: datetime) -> str:
    return f"{measured(Rows(ALIAS), hour).opened:,} opened"


def _roll_up() -> str:
    return f"{lifecycle.roll_up()} hours"


def _stats(timeframe: timedelta, server: str, *, quick: bool) -> str:
    return f"{SessionAnalytics.session_stats(timeframe, server, quick=quick)['total_sessions']:,} opened"


def _statistics() -> str:
    return f"{get_store().statistics(timezone.now()).live:,} live"


def _command(name: str, *args: str) -> str:
    out = StringIO()
    call_command(name, *args, stdout=out)
    return f"{out.getvalue().count(chr(10))} lines"
