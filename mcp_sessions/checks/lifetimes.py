"""Options of time: of which one makes the other useless, and that instants have a zone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from mcp_sessions.conf import AppSettings, served_paths


def check_time_zones() -> list[CheckMessage]:
    """Instants are in UTC wherever they are kept: what has no zone cannot be compared with them."""
    if settings.USE_TZ:
        return []
    hint = "Set USE_TZ = True, Django's default."
    return [
        Error(
            "Sessions need dates that know their time zone: USE_TZ is off.", hint=hint, id="mcp_sessions.E019"
        )
    ]


@dataclass(frozen=True, slots=True)
class Useless:
    """What comes of an option that is more (or `or_equal`) than another."""

    id: str
    option: str
    bound: str
    effect: str
    hint: str
    or_equal: bool = False

    def check(self, path: str) -> Iterator[CheckMessage]:
        options = AppSettings(path)
        value, bound = getattr(options, self.option), getattr(options, self.bound)
        if value is None or bound is None or value < bound or (value == bound and not self.or_equal):
            return
        relation = "at least" if self.or_equal else "more than"
        message = f"{self.option} = {value} is {relation} {self.bound} = {bound}: {self.effect}."
        yield Warning(message, hint=self.hint, obj=path, id=f"mcp_sessions.{self.id}")


# Mostly, equal is not too much: with SESSION_TIMEOUT at MAX_SESSION_LIFETIME one says that nothing slides.
TABLE: Final = (
    Useless(
        id="W004",
        option="SESSION_REFRESH_THRESHOLD",
        bound="SESSION_TIMEOUT",
        effect="every request moves a session's end",
        hint="Make it less, or None if that is meant.",
    ),
    Useless(
        id="W005",
        option="SESSION_TIMEOUT",
        bound="MAX_SESSION_LIFETIME",
        effect="no request ever moves a session's end",
        hint="Make it less, or the same if that is meant.",
    ),
    Useless(
        id="W006",
        option="IDLE_TIMEOUT",
        bound="MAX_SESSION_LIFETIME",
        effect="no session ever ends for being idle",
        hint="Make it less, or None if that is meant.",
    ),
    Useless(
        id="W006",
        option="IDLE_TIMEOUT",
        bound="SESSION_TIMEOUT",
        effect="no session ever ends for being idle",
        hint="Make it less, or None if that is meant.",
    ),
    Useless(
        id="W007",
        option="SESSION_WARNING_SECONDS",
        bound="SESSION_TIMEOUT",
        effect="clients are warned whenever a session's end has moved",
        hint="Make it less, or None for no warnings.",
        or_equal=True,
    ),
    Useless(
        id="W008",
        option="SESSION_WARNING_SECONDS",
        bound="SESSION_REFRESH_THRESHOLD",
        effect="a client that answers the warning by a request does not move its session's end",
        hint="Make it at most SESSION_REFRESH_THRESHOLD.",
    ),
)


def check_lifetimes() -> Iterator[CheckMessage]:
    for path in served_paths():
        for row in TABLE:
            yield from row.check(path)
