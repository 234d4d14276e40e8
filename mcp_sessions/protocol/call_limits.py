"""MAX_CALLS_PER_SESSION: how many calls of a session a process runs at once."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Exchange
from mcp_sessions.records import SessionRecord
from mcp_sessions.refusals import report_refusal

REASON: Final = "call_limit"


def limit_calls(exchange: Exchange, session: SessionRecord, new: int) -> None:
    """Raises RequestError 429 if with so many more too many calls of the session would run here.

    400 for a batch that is too large even if no other call runs.
    """
    limit = AppSettings(exchange.endpoint).MAX_CALLS_PER_SESSION
    if limit is None or not new or get_hub().calls.count(session.key) + new <= limit:
        return
    text = f"At most {limit} requests of a session are served at once"
    data = {"reason": REASON, "limit": limit}
    if new > limit:
        # Waiting would not help.
        raise RequestError(400, f"{text}: send fewer in one batch.", data=data)
    report_refusal(exchange, REASON, session.key)
    again = (("Retry-After", "1"),)
    raise RequestError(429, f"{text}: wait for the answers to some.", data=data, headers=again)


class CountedCall:
    """A call of 2026-07-28: it counts for the sessions whose handles it names, else for the principal's."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._own = ExitStack()
        self._named = ExitStack()
        self._keys: set[str] = set()
        self._is_over = False

    def count_own(self, session: SessionRecord) -> None:
        """Count it for its principal's own session. Raises RequestError 429."""
        self._count(session, self._own)

    def count_named(self, session: SessionRecord) -> None:
        """Count it for a session whose handle it names, however often it does. Raises RequestError 429."""
        if session.key not in self._keys and not self._is_over:
            self._count(session, self._named)
            self._keys.add(session.key)
            self._own.close()

    def end(self) -> None:
        self._is_over = True
        self._own.close()
        self._named.close()

    def _count(self, session: SessionRecord, held: ExitStack) -> None:
        limit_calls(self._exchange, session, 1)
        held.enter_context(get_hub().calls.due(session.key, 1))
