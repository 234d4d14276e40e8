from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from mcp_sessions import lifecycle
from mcp_sessions.exceptions import SessionNotFound
from mcp_sessions.management.operating import MISUSED, NOT_FOUND, OperatorCommand
from mcp_sessions.records import EndReason


class Command(OperatorCommand):
    help = (
        "Ends MCP sessions everywhere, at once: their streams close, their running calls are cancelled, "
        "their ids open nothing any more."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("keys", nargs="+", metavar="KEY", help="A session's public name, or its full id.")
        parser.add_argument(
            "--reason",
            default=EndReason.OPERATOR,
            help=f"What its client is told, in at most {lifecycle.REASON_LENGTH} characters.",
        )

    def operate(self, **options: Any) -> None:
        keys: Sequence[str] = options["keys"]
        ended = {place: found for place, key in enumerate(keys, 1) if (found := _end(key, options["reason"]))}
        missing = [place for place in range(1, len(keys) + 1) if place not in ended]
        text = f"Ended {len(ended)} session{'' if len(ended) == 1 else 's'}."
        self.tell(text, {"ended": list(ended.values()), "not_found": missing}, options)
        if missing:
            # By their places: what was given may be an id, which nothing repeats.
            which = ", ".join(f"no. {place}" for place in missing)
            raise CommandError(f"There is no live session for {which} of {len(keys)}.", returncode=NOT_FOUND)


def _end(key: str, reason: str) -> str | None:
    """The public name of the session that was ended; None if there was none that is live."""
    try:
        session = lifecycle.end_session(key, reason)
    except SessionNotFound:
        return None
    except ValueError as error:
        raise CommandError(str(error), returncode=MISUSED) from error
    return None if session is None else session.key
