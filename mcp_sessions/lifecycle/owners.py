"""All sessions of one owner end: at an operator's word, or since the user is gone."""

from __future__ import annotations

from typing import Any, Final

from django.utils import timezone

from mcp_sessions.conf import served_paths
from mcp_sessions.deferred import wait_for_deferred
from mcp_sessions.lifecycle.endings import check_reason, end
from mcp_sessions.principals import user_owner
from mcp_sessions.records import EndReason, principal_of
from mcp_sessions.runtime import on_runtime, run_sync
from mcp_sessions.stores import get_store

PAGE: Final = 100
"""Sessions that are looked for at once."""


def end_sessions_of(owner: Any, reason: str = EndReason.OPERATOR) -> int:
    """aend_sessions_of() for synchronous code; no part of the caller's transaction."""
    # Here, and not on the event loop: a user may be one that Django loads when it is first needed.
    ended = run_sync(aend_sessions_of(owner_of(owner), reason))
    wait_for_deferred()
    return ended


@on_runtime
async def aend_sessions_of(owner: Any, reason: str = EndReason.OPERATOR) -> int:
    """End all live sessions of one owner, at every endpoint; how many this call has ended.

    `owner` is a Django user, or the text that `session.owner` has. `reason`, 1 to 32 printable
    characters, is sent to clients and with signals. Raises ValueError for another reason, and for "": the
    sessions of anonymous clients have no owner.

    An owner that may still log in can open other sessions at once, so withdraw the permission first.
    """
    check_reason(reason)
    found = owner_of(owner)
    return sum([await _end_at(path, found, reason) for path in served_paths()])


def owner_of(owner: Any) -> str:
    """The owner of a Django user's sessions, or the owner itself. Raises ValueError for ""."""
    found = owner if isinstance(owner, str) else user_owner(owner.pk)
    if not found:
        raise ValueError("Anonymous sessions have no owner.")
    return found


async def _end_at(path: str, owner: str, reason: str) -> int:
    principal, ended = principal_of(path, owner, ""), 0
    while keys := await get_store().akeys_of(path, principal, timezone.now(), PAGE):
        some = sum([await end(key, reason) for key in keys])
        ended += some
        if not some:
            break  # Others are ending them.
    return ended
