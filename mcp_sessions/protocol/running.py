"""MAX_CALLS_PER_SESSION: how many calls of a session a process runs at once."""

from __future__ import annotations

from contextlib import ExitStack

from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import get_hub
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Exchange
from mcp_sessions.protocol.bounds import check_calls
from mcp_sessions.records import SessionRecord
from mcp_sessions.refusals import report_refusal


def limit_calls(exchange: Exchange, session: SessionRecord, new: int) -> None:
    """Raises RequestError 429 if with so many more too many calls of the session would run here."""
    limit = AppSettings(exchange.endpoint).MAX_CALLS_PER_SESSION
    running = get_hub().calls.count(session.key)
    try:
        check_calls(running, new, limit)
    except RequestError as error:
        if error.status == 429:
            report_refusal(exchange, "call_limit", session.key)
        raise


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
