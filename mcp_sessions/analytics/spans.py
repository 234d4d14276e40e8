"""A timeframe: from the rows of sessions as far back as all are there, and before from counted hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce

from mcp_sessions.analytics.aggregates import HOUR, Aggregates, hour_of, percentile
from mcp_sessions.analytics.growth import step_for
from mcp_sessions.analytics.hours import (
    counted_hours,
    counted_until,
    deleted_until,
    figures_of,
    first_counted,
)
from mcp_sessions.analytics.rows import PERCENTS, Rows, Step


@dataclass(frozen=True, slots=True)
class Span:
    """What is known of a timeframe."""

    since: datetime
    step: timedelta
    steps: list[Step]
    """Those in which something happened."""
    figures: Aggregates
    percentiles: dict[str, float | None]
    """Of durations, in seconds."""
    is_exact: bool
    """Whether the percentiles are."""


def span_of(rows: Rows, since: datetime, until: datetime, *, quick: bool = False) -> Span:
    """From rows as far back as they are all there; `quick`: only for hours that were not counted."""
    boundary = counted_until(rows.alias) if quick else deleted_until(rows.alias)
    if boundary is None or boundary <= since:
        return _from_rows(rows, since, until)
    return _with_hours(rows, since, boundary, until)


def _from_rows(rows: Rows, since: datetime, until: datetime) -> Span:
    step = step_for(since, until)
    figures, steps = rows.measured(since, until, step)
    return Span(since, step, steps, figures, _in_seconds(rows.percentiles(since, until)), True)


def _with_hours(rows: Rows, since: datetime, boundary: datetime, until: datetime) -> Span:
    """Hours are counted as a whole, and not from before there was a count."""
    since = max(hour_of(since), first_counted(rows.alias) or boundary)
    hours = counted_hours(rows.alias, rows.server, since, boundary)
    figures, steps = rows.measured(boundary, until, HOUR)
    counted = [figures_of(hour) for hour in hours]
    of_hours = [Step(hour.hour, hour.opened, hour.ended) for hour in hours]
    is_exact = not any(each.ended for each in counted)
    if not is_exact:
        figures = replace(figures, durations=rows.durations(boundary, until))
    together = reduce(Aggregates.then, [*counted, figures])
    percentiles = rows.percentiles(boundary, until) if is_exact else _estimated(together)
    return Span(since, HOUR, [*of_hours, *steps], together, _in_seconds(percentiles), is_exact)


def _estimated(figures: Aggregates) -> dict[int, float]:
    return {percent: percentile(figures.durations, percent) for percent in PERCENTS}


def _in_seconds(percentiles: Mapping[int, float]) -> dict[str, float | None]:
    found = {percent: percentiles.get(percent) for percent in PERCENTS}
    return {f"p{percent}": None if value is None else value / 1_000_000 for percent, value in found.items()}
