"""Errors of this app inside a tool that a client has caused: the client is told, and so is the author.

Server libraries take each for a crash: the client learns nothing, and each call has a traceback in the log.
"""

from __future__ import annotations

import functools
import inspect
import logging
import weakref
from collections.abc import Callable
from typing import Any, Final, NoReturn

from mcp_sessions.exceptions import InvalidSessionData, NoSession
from mcp_sessions.logs import due
from mcp_sessions.protocol.handles import get_caller

logger = logging.getLogger("mcp_sessions.protocol")

Refuse = Callable[[str], NoReturn]

NONE_HERE: Final = (
    "This tool needs a session, and a client that has not authenticated has none in revision 2026-07-28. "
    "Authenticate, or open a session by initialize, in an earlier revision."
)
TWO_WAYS: Final = (
    "tool %s was called by an anonymous client of 2026-07-28, for which get_session() has no session, %s: "
    "give the tool a parameter `session: Session`, or leave 2026-07-28 out of REVISIONS"
)
NOT_KEPT: Final = "tool %s was to keep what a session cannot keep, %s: %s"

_wrappers: weakref.WeakValueDictionary[tuple[int, Refuse], Callable[..., Any]] = weakref.WeakValueDictionary()
"""By the id of the function that each wraps, and so keeps; server libraries cache schemas by function."""


def explained(tool: Any, refuse: Refuse) -> Any:
    """A copy of the tool whose function raises the server library's own error for these of ours."""
    function = getattr(tool, "fn", None)
    return tool if function is None else tool.model_copy(update={"fn": _wrapper(function, refuse)})


def _wrapper(function: Callable[..., Any], refuse: Refuse) -> Callable[..., Any]:
    if (known := _wrappers.get((id(function), refuse))) is not None:
        return known

    @functools.wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except (NoSession, InvalidSessionData) as error:
            _explain(function, error, refuse)
            raise

    @functools.wraps(function)
    def call_in_thread(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (NoSession, InvalidSessionData) as error:
            _explain(function, error, refuse)
            raise

    _wrappers[id(function), refuse] = made = call if inspect.iscoroutinefunction(function) else call_in_thread
    return made


def _explain(function: Any, error: Exception, refuse: Refuse) -> None:
    name = getattr(function, "__name__", "?")
    if isinstance(error, InvalidSessionData):
        _warn(NOT_KEPT, name, error)
        # What a database or a serializer adds after the colon is for the author.
        refuse(f"This cannot be kept in a session. {str(error).partition(':')[0].rstrip('.')}.")
    if (caller := get_caller()) is not None and not caller.owner:
        _warn(TWO_WAYS, name)
        refuse(NONE_HERE)


def _warn(text: str, name: str, *more: object) -> None:
    """The first time, the tenth, the hundredth…"""
    if count := due((text, name)):
        logger.warning(text, name, "once" if count == 1 else f"{count} times by now", *more)
