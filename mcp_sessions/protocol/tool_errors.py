"""Errors of this app inside a tool, resource or prompt that the client or an outage has caused: the client
gets a clear error, and the log one line.

Server libraries treat each as a crash: the client learns nothing, and each call logs a traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from mcp_sessions.exceptions import (
    InvalidSessionData,
    NestedEdit,
    NoSession,
    SessionBusy,
    SessionEnded,
    StoreUnavailable,
)
from mcp_sessions.logs import due
from mcp_sessions.protocol import outages
from mcp_sessions.protocol.handles import get_caller
from mcp_sessions.protocol.mistakes import Refuse

logger = logging.getLogger("mcp_sessions.protocol")

NONE_HERE: Final = (
    "This needs a session, and a client that has not authenticated has none in revision 2026-07-28. "
    "Authenticate, or open a session by initialize, in an earlier revision."
)
TWO_WAYS: Final = (
    "%s was called by an anonymous client of 2026-07-28, for which get_session() has no session, %s: "
    "give a tool the parameter `session: Session`, or leave 2026-07-28 out of REVISIONS"
)
ENDED: Final = "%s was to write to a session that has ended, %s"
BUSY: Final = "%s waited for longer than EDIT_TIMEOUT while others edited the session, %s"
NOT_KEPT: Final = "%s was to keep what a session cannot keep, %s: %s"


@contextmanager
def clear_errors(name: str, refuse: Refuse) -> Iterator[None]:
    """Around a component's function of this name: for these errors of ours it raises the library's own."""
    try:
        yield
    except NestedEdit:
        raise
    except (NoSession, InvalidSessionData, SessionEnded, SessionBusy, StoreUnavailable) as error:
        _explain(name, error, refuse)
        raise


def _explain(name: str, error: Exception, refuse: Refuse) -> None:
    if isinstance(error, InvalidSessionData):
        _warn(NOT_KEPT, name, error)
        # What a database or a serializer adds after the colon is for the author.
        refuse(f"This cannot be kept in a session. {str(error).partition(':')[0].rstrip('.')}.")
    if isinstance(error, StoreUnavailable):
        refuse(outages.note(error, name))
    if isinstance(error, SessionEnded):
        _warn(ENDED, name)
        refuse("The session has ended.")
    if isinstance(error, SessionBusy):
        _warn(BUSY, name)
        refuse("Another call is changing this session. Try again in a moment.")
    if (caller := get_caller()) is not None and not caller.owner:
        _warn(TWO_WAYS, name)
        refuse(NONE_HERE)


def _warn(text: str, name: str, *more: object) -> None:
    """The first time, the tenth, the hundredth…"""
    if count := due((text, name)):
        logger.warning(text, name, "once" if count == 1 else f"{count} times by now", *more)
