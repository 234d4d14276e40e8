"""Who may watch what: the function that MAY_WATCH names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.utils.module_loading import import_string

from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.isolation import isolated
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication.threads import in_database

logger: Final = logging.getLogger("mcp_sessions.security")


@dataclass(frozen=True, slots=True)
class Watched:
    """The changes that a request wants to be notified of: of `resources`, by URI, and of `lists`.

    Each list is "tools", "prompts" or "resources".
    """

    resources: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


async def may_watch(principal: Principal, endpoint: str, watched: Watched) -> bool:
    """Whether MAY_WATCH permits it. A function that fails permits nothing, and the log says why."""
    try:
        asked = find_hook(endpoint)
        return asked is None or bool(await _ask(asked, principal, endpoint, watched))
    except Exception:
        logger.exception("MAY_WATCH failed at %s: nobody may watch", endpoint)
        return False


async def _ask(asked: Callable[..., Any], *arguments: Any) -> Any:
    is_async = iscoroutinefunction(asked)
    answer = asked(*arguments) if is_async else await isolated(in_database(asked, *arguments))
    return await isolated(answer) if isawaitable(answer) else answer


def find_hook(endpoint: str) -> Callable[..., Any] | None:
    """The function of MAY_WATCH. Raises ConfigurationError if there is no such function."""
    named = AppSettings(endpoint).MAY_WATCH
    try:
        found = import_string(named) if isinstance(named, str) else named
    except ImportError as error:
        raise ConfigurationError(f"MAY_WATCH: {error}") from error
    if found is not None and not callable(found):
        raise ConfigurationError(f"MAY_WATCH: {named!r} is not a function.")
    return found
