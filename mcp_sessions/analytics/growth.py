"""How sessions grew, step by step, and at which hours and on which days of the week they were opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypedDict

from django.utils import timezone

from mcp_sessions.analytics.aggregates import EPOCH, HOUR
from mcp_sessions.analytics.rows import Step

MINUTE: Final = timedelta(minutes=1)
BY_MINUTES: Final = timedelta(hours=3)
"""A longer time is shown by hours."""


class Growth(TypedDict):
    """One step of the growth."""

    at: datetime
    """When it began: a full minute, or hour, of UTC."""
    opened: int
    ended: int
    live: int
    """When the step was over (the last one: at the end of the timeframe)."""


def step_for(since: datetime, until: datetime) -> timedelta:
    return MINUTE if until - since <= BY_MINUTES else HOUR


def grown(
    steps: Iterable[Step], live: int, since: datetime, until: datetime, step: timedelta
) -> list[Growth]:
    """Every step of the timeframe, also where nothing happened; `live` is how many there were before."""
    happened = {each.at: each for each in steps}
    at, growth = since - (since - EPOCH) % step, []
    while at < until:
        of_step = happened.get(at, Step(at))
        live += of_step.opened - of_step.ended
        growth.append(Growth(at=at, opened=of_step.opened, ended=of_step.ended, live=live))
        at += step
    return growth


def patterns(steps: Sequence[Step]) -> tuple[list[int], list[int]]:
    """How many were opened by hour of the day, and by weekday from Monday on, in the current time zone."""
    by_hour, by_weekday = [0] * 24, [0] * 7
    for step in steps:
        local = timezone.localtime(step.at)
        by_hour[local.hour] += step.opened
        by_weekday[local.weekday()] += step.opened
    return by_hour, by_weekday
