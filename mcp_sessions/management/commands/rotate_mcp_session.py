from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from mcp_sessions import lifecycle
from mcp_sessions.exceptions import RotationRefused, SessionNotFound
from mcp_sessions.management.operating import NOT_FOUND, OperatorCommand, named

OUTCOMES = ("rotated", "ended", "refused", "not_found")
UNCHANGED: Final = {
    "refused": "unchanged, because the client cannot learn another id",
    "not_found": "not found",
}


class Command(OperatorCommand):
    help = (
        "Gives MCP sessions other ids, which their clients are sent on their open streams. The ids that "
        "they have now open nothing after ROTATION_GRACE_SECONDS. No id is printed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("keys", nargs="+", metavar="KEY", help="A session's public name, or its full id.")
        parser.add_argument(
            "--end", action="store_true", help="End the sessions whose clients cannot learn another id."
        )

    def operate(self, **options: Any) -> None:
        keys: Sequence[str] = options["keys"]
        places: dict[str, list[int]] = {outcome: [] for outcome in OUTCOMES}
        for place, key in enumerate(keys, 1):
            places[_rotate(key, ends=options["end"])].append(place)
        counts = {outcome: len(found) for outcome, found in places.items()}
        text = f"Rotated {counts['rotated']}, ended {counts['ended']} of {len(keys)}"
        why = ", ".join(f"{counts[each]} {reason}" for each, reason in UNCHANGED.items() if counts[each])
        self.show(f"{text}: {why}." if why else f"{text}.", places, options)
        if refused := places["refused"]:
            raise CommandError(
                f"The client of {named(keys, refused)} cannot learn another id. "
                "With --end, such a session is ended.",
                returncode=NOT_FOUND,
            )
        if missing := places["not_found"]:
            raise CommandError(f"There is no live session for {named(keys, missing)}.", returncode=NOT_FOUND)


def _rotate(key: str, *, ends: bool) -> str:
    """What became of it, one of OUTCOMES."""
    try:
        return "ended" if lifecycle.rotate_session(key, end=ends) is None else "rotated"
    except SessionNotFound:
        return "not_found"
    except RotationRefused:
        return "refused"
