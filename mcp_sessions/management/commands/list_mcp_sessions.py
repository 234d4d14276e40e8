from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.timesince import timesince

from mcp_sessions.analytics import STATE_CHOICES, Wanted, list_sessions
from mcp_sessions.conf import served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.management.operating import NOT_FOUND, OperatorCommand

SHOWN: Final = 50
"""Sessions that are listed unless more are asked for."""
MAX_SHOWN: Final = 10_000
COLUMNS: Final[Mapping[str, int]] = {
    "key": 24,
    "state": 7,
    "server": 12,
    "client": 24,
    "address": 15,
    "seen": 24,
    "requests": 8,
}
"""With their widths."""


class Command(OperatorCommand):
    help = "Lists MCP sessions, the newest first. Default: live sessions."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--state", choices=STATE_CHOICES, default="live", help="Default: live.")
        parser.add_argument("--server", default="", metavar="PATH", help="One endpoint only, such as /mcp.")
        parser.add_argument(
            "--client", default="", metavar="NAME", help="The beginning of the client's name."
        )
        parser.add_argument("--address", default="", metavar="IP", help="The beginning of the address.")
        parser.add_argument(
            "--limit", type=_limit, default=SHOWN, metavar="N", help=f"The maximum number. Default: {SHOWN}."
        )

    def operate(self, **options: Any) -> None:
        if (server := options["server"]) and server not in served_paths():
            raise CommandError(f"There is no endpoint {server}.", returncode=NOT_FOUND)
        wanted = Wanted(options["state"], server, options["client"], options["address"])
        try:
            sessions, has_more = list_sessions(wanted, options["limit"])
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        text = "\n".join(_lines(sessions, has_more=has_more))
        self.show(text, {"sessions": sessions, "has_more": has_more}, options)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_SHOWN:
        raise ArgumentTypeError(f"{text!r} is no number from 1 to {MAX_SHOWN}.")
    return int(text)


def _lines(sessions: Sequence[Mapping[str, Any]], *, has_more: bool) -> Iterator[str]:
    if not sessions:
        yield "There is no such session."
        return
    yield _line({name: name.upper() for name in COLUMNS})
    for session in sessions:
        yield _line({**session, "seen": _ago(session)})
    if has_more:
        yield f"There are more than these {len(sessions)}: see --limit."


def _line(facts: Mapping[str, Any]) -> str:
    return "  ".join(_cell(facts[name], width) for name, width in COLUMNS.items()).rstrip()


def _cell(value: Any, width: int) -> str:
    """What clients say has no line breaks here, and no more room than others."""
    text = "".join(each if each.isprintable() else "?" for each in str(value)) or "-"
    return f"{text if len(text) <= width else f'{text[: width - 1]}…':<{width}}"


def _ago(session: Mapping[str, Any]) -> str:
    # Django's words have a space in them that no line breaks at.
    return f"{timesince(session['last_accessed_at'], timezone.now())} ago".replace("\xa0", " ")
