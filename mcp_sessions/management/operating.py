"""What the commands for operators have in common: JSON for programs, and exit codes."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import ProgrammingError

from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.identifiers import is_made_key
from mcp_sessions.records import instant
from mcp_sessions.stores import get_store
from mcp_sessions.stores.failures import UNSERVED, Failure, meaning_of, not_migrated

NOT_FOUND: Final = 1
"""Exit code: something that was named is not there; the rest was done."""
MISUSED: Final = 2
"""Exit code: the arguments cannot be. (argparse exits so by itself.)"""
UNREACHABLE: Final = 3
"""Exit code: the sessions cannot be reached."""


class OperatorCommand(BaseCommand):
    """`operate` does the work, and says it by `tell`."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print one JSON object, for programs.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not get_store().shared_by_processes:
            message = (
                "The session store is in the memory of the server's process, which looks after it by itself; "
                "no other process reaches it."
            )
            raise CommandError(message, returncode=UNREACHABLE)
        try:
            with _warnings_only() if options["verbosity"] == 0 else nullcontext():
                self.operate(**options)
        except StoreUnavailable as error:
            raise CommandError(str(error), returncode=UNREACHABLE) from error
        except (*UNSERVED, ProgrammingError) as error:
            if (failure := meaning_of(error)) is None:
                raise
            if failure is Failure.UNMIGRATED:
                raise CommandError(str(not_migrated(error)), returncode=UNREACHABLE) from error
            raise CommandError(f"The database cannot be reached: {error}", returncode=UNREACHABLE) from error

    @abstractmethod
    def operate(self, **options: Any) -> None: ...

    def show(self, text: str, content: Any, options: dict[str, Any]) -> None:
        """Print the text, or the same as JSON if that is asked for."""
        if options["verbosity"] == 0 and not options["json"]:
            return
        as_json = json.dumps(content, ensure_ascii=False, default=_readable) if options["json"] else ""
        self.stdout.write(as_json or text)


def named(keys: Sequence[str], places: Iterable[int]) -> str:
    """The sessions at these places (from 1) of what was given: keys as they are, and ids by their place.

    An id is a credential, and nothing repeats it.
    """
    return ", ".join(key if is_made_key(key := keys[place - 1]) else f"no. {place}" for place in places)


@contextmanager
def _warnings_only() -> Iterator[None]:
    """For cron, which mails what is said. MCP's SDK has the root logger write, which nobody asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def _readable(value: Any) -> str:
    """What is no JSON: instants, and what another serializer keeps for tools."""
    return instant(value) if isinstance(value, datetime) else str(value)
