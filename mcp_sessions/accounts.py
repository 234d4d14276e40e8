"""What Django tells of its users: who may log in no more loses sessions and streams at once.

A change that sends no signal (QuerySet.update, another program) is found by the next request, and by the next
heartbeat of an open stream.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from django.apps import apps
from django.db.models.signals import post_delete, post_save

from mcp_sessions.principals import session_fingerprint, user_owner

Work = Callable[[], Coroutine[Any, Any, object]]

logger = logging.getLogger("mcp_sessions.lifecycle")


def follow_users() -> None:
    """Connect to the signals of Django's users, if the project has any."""
    if not apps.is_installed("django.contrib.auth"):
        return
    from django.contrib.auth import get_user_model
    from django.contrib.auth.signals import user_logged_out

    post_save.connect(_saved, sender=get_user_model(), dispatch_uid=__name__)
    post_delete.connect(_deleted, sender=get_user_model(), dispatch_uid=__name__)
    user_logged_out.connect(_logged_out, dispatch_uid=__name__)


def _saved(instance: Any, created: bool = False, raw: bool = False, **_: Any) -> None:
    owner = user_owner(instance.pk)
    if created or raw or not _is_of_interest():
        return
    if not getattr(instance, "is_active", True):
        _do("the sessions of a user who was deactivated end", partial(_end_sessions, owner))
    # Django's set_password() leaves it until the user is saved.
    elif getattr(instance, "_password", None) is not None:
        _do("a user has another password", partial(_publish, owner))


def _deleted(instance: Any, **_: Any) -> None:
    if _is_of_interest():
        _do("the sessions of a deleted user end", partial(_end_sessions, user_owner(instance.pk)))


def _logged_out(request: Any, user: Any, **_: Any) -> None:
    """One browser is logged out. Its session is there until after this signal: so it is named."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    if user is not None and key and _is_of_interest():
        _do("a user has logged out", partial(_publish, user_owner(user.pk), session_fingerprint(key)))


def _is_of_interest() -> bool:
    """Whether any endpoint has owners."""
    from mcp_sessions.conf import AppSettings, problems, served_paths

    return not problems() and any(AppSettings(path).AUTHENTICATORS for path in served_paths())


async def _end_sessions(owner: str) -> None:
    from mcp_sessions.lifecycle import aend_sessions_of, publish_change
    from mcp_sessions.records import EndReason

    await publish_change(owner)
    await aend_sessions_of(owner, EndReason.REVOKED)


async def _publish(owner: str, fingerprint: str = "") -> None:
    from mcp_sessions.lifecycle import publish_change

    await publish_change(owner, fingerprint)


def _do(what: str, work: Work) -> None:
    """Do it after the commit. What fails is logged: the user is saved, and each request is checked anyway."""
    from mcp_sessions.commits import in_background_after_commit

    in_background_after_commit(what, work)
