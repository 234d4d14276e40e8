"""Sessions of tools in every revision: `session: Session` as a parameter.

In revisions with a handshake the session is the protocol's, and the parameter is not shown to clients. In
2026-07-28 it is a handle, an argument like any other. What clients see of that is in
handletools.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from mcp_sessions.exceptions import RequestError, SessionNotFound
from mcp_sessions.exchange import Exchange
from mcp_sessions.lifecycle import find_own
from mcp_sessions.protocol.admission import admitted_handle, opening_metadata
from mcp_sessions.protocol.call_limits import CountedCall
from mcp_sessions.protocol.mistakes import Refuse
from mcp_sessions.protocol.outages import before_work
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import run
from mcp_sessions.state import RequestedSession, SessionState, current_session
from mcp_sessions.throttling import limit_session

OPEN: Final = "open_session"
LIST: Final = "list_sessions"
END: Final = "end_session"
NAMED: Final = frozenset({"tools/call", "resources/read", "prompts/get"})
"""What may need a session."""
MISSING: Final = (
    f"This tool needs a session. Call {OPEN} first, and pass the handle that it returns as {{!r}}."
)
UNKNOWN: Final = (
    f"This session has expired, has ended, or is not yours. Call {OPEN} to open another; "
    "the old session's data is deleted."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request of 2026-07-28, to which endpoint."""

    exchange: Exchange = field(repr=False)
    call: CountedCall = field(repr=False)
    introduction: Mapping[str, Any] = field(repr=False)
    """What the request says of its revision and its client."""

    @property
    def endpoint(self) -> str:
        return self.exchange.endpoint

    @property
    def owner(self) -> str:
        return self.exchange.owner

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What a session keeps of the request that opens it."""
        return {**self.introduction, **opening_metadata(self.exchange)}


current_caller: ContextVar[Caller | None] = ContextVar("mcp_caller", default=None)
"""None in other revisions than 2026-07-28."""


def get_caller() -> Caller | None:
    """Who sent the request of 2026-07-28 that is being served; None in other revisions."""
    return current_caller.get()


async def own_session(caller: Caller, method: str) -> SessionRecord | None:
    """The session that an authenticated caller has without a handle, for what may need one."""
    if not caller.owner or method not in NAMED:
        return None
    try:
        return await find_own(caller.endpoint, caller.owner, caller.metadata)
    except RequestError as error:
        if error.data is None or error.data.get("reason") != "session_limit":
            raise
        # Most tools need none. One that does asks for a handle, and opening one says what is full.
        return None


# -- what a tool gets ----------------------------------------------------------------------------


async def with_sessions(arguments: Mapping[str, Any], refuse: Refuse) -> dict[str, Any]:
    """A tool's arguments, with a session in place of each RequestedSession."""
    return {
        name: await _session(name, value.handle, refuse) if isinstance(value, RequestedSession) else value
        for name, value in arguments.items()
    }


async def _session(parameter: str, handle: str | None, refuse: Refuse) -> SessionState:
    caller, own = current_caller.get(), current_session.get()
    if own is not None and (caller is None or handle is None):
        return own
    if caller is None or handle is None:
        refuse(MISSING.format(parameter))
    try:
        with before_work("reading the session of a handle"):
            return SessionState(await run(_limited_handle(caller, handle)))
    except SessionNotFound:
        refuse(UNKNOWN)
    except RequestError as error:
        refuse(error.message)


async def _limited_handle(caller: Caller, handle: str) -> SessionRecord:
    """The session of a handle, for one message and one call more. Raises SessionNotFound and RequestError."""
    session = await admitted_handle(caller.exchange, handle)
    await limit_session(caller.exchange, session)
    caller.call.count_named(session)
    return session
