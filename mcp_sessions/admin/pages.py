"""The page of one session: what it is, what is open of it, what it was sent, and what it keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from mcp_sessions.exceptions import SessionNotFound, StoreUnavailable
from mcp_sessions.lifecycle import Inspection, inspect_session, is_connected, is_running
from mcp_sessions.models import Session
from mcp_sessions.records import SessionRecord, StreamRecord
from mcp_sessions.stores import get_store

STREAMS: Final = 20
EVENTS: Final = 20
"""So many of each are shown, the newest."""
CUT: Final = 160
"""Characters of an event that are shown at once; the rest opens at a click."""


def page_of(row: Session, *, shows_payload: bool) -> dict[str, Any]:
    """What the template needs. Where the store has no such session, the row says what was known of it."""
    found, problem = _inspected(row.key, EVENTS if shows_payload else 0)
    session = found.session if found else record_of(row)
    now = found.at if found else timezone.now()
    return {
        "session": session,
        "state": state_of(session, now),
        "now": now,
        "problem": problem,
        "found": found,
        "shows_payload": shows_payload,
        "streams": [_stream(each) for each in found.newest_streams[:STREAMS]] if found else [],
        "more_streams": max(0, len(found.streams) - STREAMS) if found else 0,
        "events": [_event(each) for each in found.events] if found else [],
        "data": readable(session.data) if shows_payload and found else "",
        "metadata": readable(session.metadata),
    }


def state_of(session: SessionRecord | Session, now: datetime) -> str:
    """live, expired or ended."""
    if session.ended_at is not None:
        return "ended"
    return "live" if session.expires_at > now else "expired"


def record_of(row: Session) -> SessionRecord:
    """A row as a record, without its data."""
    names = [each.name for each in fields(SessionRecord) if each.name not in {"data", "metadata"}]
    metadata = row.metadata if isinstance(row.metadata, Mapping) else {}
    return SessionRecord(**{name: getattr(row, name) for name in names}, metadata=metadata)


def readable(value: Any) -> str:
    """JSON for people."""
    return json.dumps(dict(value), indent=2, ensure_ascii=False, sort_keys=True, default=str)


def distance(at: datetime, now: datetime) -> str:
    """How far two instants are apart, in one unit that fits into a column: 12 s, 47 min, 3 h, 2 d."""
    seconds = int(abs((at - now).total_seconds()))
    units = (("d", 86400), ("h", 3600), ("min", 60))
    return next((f"{seconds // size} {unit}" for unit, size in units if seconds >= size), f"{seconds} s")


def _inspected(key: str, events: int) -> tuple[Inspection | None, str]:
    """The session as the store has it, or why it does not."""
    try:
        return inspect_session(key, events=events), ""
    except StoreUnavailable as error:
        return None, str(error)
    except SessionNotFound:
        if get_store().keeps_rows:
            return None, _("What the session keeps cannot be read; the log says why.")
        if not get_store().shared_by_processes:
            return None, _(
                "The session is in the memory of another process, or over: this is what was known of it when "
                "it opened or ended."
            )
        return None, _("The store has this session no more: this is what was known of it.")


def _stream(stream: StreamRecord) -> dict[str, Any]:
    return {
        "record": stream,
        "answers": ", ".join(json.dumps(each, ensure_ascii=False) for each in stream.request_ids),
        "is_connected": is_connected(stream),
        "is_running": is_running(stream),
        "waiting": stream.position - stream.delivered,
    }


def _event(entry: Any) -> dict[str, Any]:
    data = entry.event.data
    return {"entry": entry, "start": data[:CUT], "rest": data if len(data) > CUT else ""}
