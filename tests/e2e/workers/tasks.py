"""What a project's Celery task may do: send to sessions."""

from __future__ import annotations

from typing import Any

from celery import shared_task

import mcp_sessions


@shared_task(name="tests.send", ignore_result=True)
def send(calls: list[tuple[str, list[Any], dict[str, Any]]]) -> None:
    """Call these functions of mcp_sessions, one after the other."""
    for name, args, kwargs in calls:
        getattr(mcp_sessions, name)(*args, **kwargs)
