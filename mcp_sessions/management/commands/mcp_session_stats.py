from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from mcp_sessions.analytics import SessionAnalytics, SessionStatistics
from mcp_sessions.conf import served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.management.operating import NOT_FOUND, OperatorCommand
from mcp_sessions.records import instant

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
MAX_SHOWN: Final = 5
"""Clients and the like in one line; --json has all."""


class Command(OperatorCommand):
    help = (
        "Shows what happened to MCP sessions in the last hour, or in another timeframe. "
        'The documentation\'s page "Analytics" explains each figure.'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--timeframe",
            type=_timeframe,
            default="1h",
            help="The timeframe until now: 90m, 12h, 30d. Default: 1h.",
        )
        parser.add_argument("--server", default="", metavar="PATH", help="One endpoint only, such as /mcp.")
        parser.add_argument(
            "--quick", action="store_true", help="Use counted hours; percentiles are then within 1 %."
        )

    def operate(self, **options: Any) -> None:
        if (server := options["server"]) and server not in served_paths():
            raise CommandError(f"There is no endpoint {server}.", returncode=NOT_FOUND)
        try:
            stats = SessionAnalytics().session_stats(
                options["timeframe"], options["server"], quick=options["quick"]
            )
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        self.show("\n".join(_lines(stats)), stats, options)


def _timeframe(text: str) -> timedelta:
    found = re.fullmatch(r"([1-9]\d{0,3})([mhd])", text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no timeframe: write a number and m, h or d, such as 90m.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _lines(stats: SessionStatistics) -> Iterator[str]:
    yield f"Sessions from {instant(stats['since'])[:16]} to {instant(stats['until'])[:16]} UTC"
    for name, value in _facts(stats):
        yield f"  {name:<14}{value}"


def _facts(stats: SessionStatistics) -> Iterator[tuple[str, str]]:
    patterns = stats["connection_patterns"]
    yield "opened", str(stats["total_sessions"])
    yield "ended", _counts(stats["ended_sessions"], patterns["by_end_reason"])
    yield (
        "live now",
        f"{stats['live_sessions']}, {stats['active_sessions']} of them seen in the last 5 minutes",
    )
    yield "at most live", str(stats["peak_concurrent"])
    yield "duration", f"{_seconds(stats['average_duration'])} on average"
    known = "" if stats["percentiles_are_exact"] else " (within 1 %)"
    shares = ", ".join(f"{name} {_seconds(value)}" for name, value in stats["duration_percentiles"].items())
    yield "", f"{shares}{known}"
    yield "requests", f"{_number(patterns['requests_per_session'])} a session"
    yield "connections", f"{_number(patterns['connections_per_session'])} a session"
    yield "clients", _counts(None, patterns["by_version"])
    yield "revisions", _counts(None, patterns["by_revision"])


def _counts(total: int | None, by_name: Mapping[str, int]) -> str:
    """The total, and the most frequent of what it is made of."""
    parts = [f"{name or '?'}: {count}" for name, count in list(by_name.items())[:MAX_SHOWN]]
    named = ", ".join([*parts, "…"] if len(by_name) > MAX_SHOWN else parts)
    if total is None:
        return named or "-"
    return f"{total} ({named})" if named else str(total)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


def _number(number: float | None) -> str:
    return "-" if number is None else f"{number:.1f}"
