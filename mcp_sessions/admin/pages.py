"""The page of one session: what it is, what is open of it, what it was sent, and what it keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from mcp_sessions.admin.rows import instant, record_of, state_of
from mcp_sessions.exceptions import SessionNotFound, StoreUnavailable
from mcp_sessions.lifecycle import Inspection, inspect_session, is_connected, is_running
from mcp_sessions.models import Session
from mcp_sessions.records import SessionRecord, StreamRecord
from mcp_sessions.stores import get_store

STREAMS: Final = 20
EVENTS: Final = 20
"""So many of each are shown, the newest."""
OURS: Final = frozenset({"address", "dialect", "initialized", "authentication"})
"""What is found out about a client, and not said by it."""
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
        "times": _times(session, now),
        "authentication": _authentication(session.metadata),
        "takes_events": session.dialect == "guide",
        "problem": problem,
        "found": found,
        "shows_payload": shows_payload,
        "connections": [_stream(each, now) for each in found.connections] if found else [],
        "streams": [_stream(each, now) for each in found.newest_streams[:STREAMS]] if found else [],
        "more_streams": max(0, len(found.streams) - STREAMS) if found else 0,
        "events": [_event(each, now) for each in found.events] if found else [],
        "data": readable(session.data) if shows_payload and found and session.data else "",
        "said": readable(said) if (said := _said(session.metadata)) else "",
    }


def readable(value: Any) -> str:
    """JSON for people."""
    return json.dumps(dict(value), indent=2, ensure_ascii=False, sort_keys=True, default=str)


def _inspected(key: str, events: int) -> tuple[Inspection | None, str]:
    """The session as the store has it, or why it does not."""
    try:
        return inspect_session(key, events=events), ""
    except StoreUnavailable as error:
        return None, str(error)
    except SessionNotFound:
        if get_store().keeps_rows:
            return None, _("The session's data cannot be read. The log says why.")
        if not get_store().shared_by_processes:
            return None, _(
                "The session is in the memory of another process, or has ended. The page shows its summary "
                "row, from when it opened or ended."
            )
        return None, _("The store no longer has this session. The page shows its summary row.")


def _times(session: SessionRecord, now: datetime) -> dict[str, SafeString]:
    named = {
        "created": session.created_at,
        "seen": session.last_accessed_at,
        "expires": session.expires_at,
        "ended": session.ended_at,
    }
    return {name: instant(at, now) for name, at in named.items() if at is not None}


def _authentication(metadata: Mapping[str, Any]) -> dict[str, str]:
    """How its owner authenticated when it was opened: what there is to say, in words."""
    found = metadata.get("authentication")
    details = found if isinstance(found, Mapping) else {}
    scopes = details.get("scopes")
    words = {**details, "scopes": " ".join(map(str, scopes)) if isinstance(scopes, list) else ""}
    return {name: str(value) for name, value in words.items() if value}


def _said(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a client has said about itself."""
    return {name: value for name, value in metadata.items() if name not in OURS}


def _stream(stream: StreamRecord, now: datetime) -> dict[str, Any]:
    return {
        "opened": instant(stream.created_at, now) if stream.created_at else "-",
        "since": instant(stream.attached_at, now) if stream.attached_at else "-",
        "record": stream,
        "answers": ", ".join(json.dumps(each, ensure_ascii=False) for each in stream.request_ids),
        "is_connected": is_connected(stream),
        "is_running": is_running(stream),
        "waiting": stream.position - stream.delivered,
    }


def _event(entry: Any, now: datetime) -> dict[str, Any]:
    data = entry.event.data
    return {
        "entry": entry,
        "at": instant(entry.at, now),
        "start": data[:CUT],
        "rest": data if len(data) > CUT else "",
    }
