from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from mcp_sessions import lifecycle
from mcp_sessions.analytics import live_keys_at
from mcp_sessions.exceptions import ConfigurationError, SessionNotFound
from mcp_sessions.management.operating import MISUSED, NOT_FOUND, OperatorCommand, named
from mcp_sessions.records import EndReason

OWNERS: Final = "Owners look like user:3, as the admin shows them; for a Django user, use --user NAME."

GROUPS: Final = ("owner", "user", "address")
"""Options that name several sessions."""


class Command(OperatorCommand):
    help = (
        "Ends MCP sessions everywhere, at once: their streams close, their running calls are cancelled, "
        "their ids open nothing any more."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("keys", nargs="*", metavar="KEY", help="A session's public name, or its full id.")
        parser.add_argument("--owner", help="End all sessions of this owner, as the admin shows it.")
        parser.add_argument("--user", help="End all sessions of the Django user with this name.")
        parser.add_argument(
            "--address",
            metavar="IP",
            help="End all live sessions of this address; of all that begin so, if it ends with . or :.",
        )
        parser.add_argument(
            "--reason",
            default=EndReason.OPERATOR,
            help=f"The reason that is sent to the client, at most {lifecycle.REASON_LENGTH} characters.",
        )

    def operate(self, **options: Any) -> None:
        keys: Sequence[str] = options["keys"]
        if sum(bool(each) for each in (keys, *(options[name] for name in GROUPS))) != 1:
            raise CommandError(
                "Name sessions by their keys, or one owner, user or address.", returncode=MISUSED
            )
        if options["address"]:
            self._end_at(options["address"], options)
        elif keys:
            self._end_keys(keys, options)
        else:
            self._end_of(options["owner"] or _owner_of_user(options["user"]), options)

    def _end_at(self, address: str, options: dict[str, Any]) -> None:
        try:
            keys = live_keys_at(address)
        except ConfigurationError as error:
            raise CommandError(str(error)) from error
        count = sum(_end(key, options["reason"]) is not None for key in keys)
        self.show(_ended(count), {"ended": count, "address": address}, options)
        if not count:
            raise CommandError("This address has no live session.", returncode=NOT_FOUND)

    def _end_of(self, owner: str, options: dict[str, Any]) -> None:
        count = _end_all(owner, options["reason"])
        self.show(_ended(count), {"ended": count, "owner": owner}, options)
        if not count and not options["user"]:
            raise CommandError(f"This owner has no live session. {OWNERS}", returncode=NOT_FOUND)

    def _end_keys(self, keys: Sequence[str], options: dict[str, Any]) -> None:
        ended = {place: found for place, key in enumerate(keys, 1) if (found := _end(key, options["reason"]))}
        missing = [place for place in range(1, len(keys) + 1) if place not in ended]
        self.show(_ended(len(ended)), {"ended": list(ended.values()), "not_found": missing}, options)
        if missing:
            raise CommandError(f"There is no live session for {named(keys, missing)}.", returncode=NOT_FOUND)


def _end(key: str, reason: str) -> str | None:
    """The public name of the session that was ended; None if there was none that is live."""
    try:
        session = lifecycle.end_session(key, reason)
    except SessionNotFound:
        return None
    except ValueError as error:
        raise CommandError(str(error), returncode=MISUSED) from error
    return None if session is None else session.key


def _ended(count: int) -> str:
    return f"Ended {count} session{'' if count == 1 else 's'}."


def _end_all(owner: str, reason: str) -> int:
    try:
        return lifecycle.end_sessions_of(owner, reason)
    except ValueError as error:
        raise CommandError(str(error), returncode=MISUSED) from error


def _owner_of_user(name: str) -> str:
    from django.contrib.auth import get_user_model

    model = get_user_model()
    try:
        return lifecycle.owner_of(model._default_manager.get_by_natural_key(name))
    except model.DoesNotExist:
        raise CommandError("There is no such user.", returncode=NOT_FOUND) from None
