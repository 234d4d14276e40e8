"""What the list and the pages say of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Final

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from mcp_sessions.models import Session
from mcp_sessions.records import SessionRecord

UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


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


def instant(at: datetime, now: datetime) -> SafeString:
    """How far away an instant is, in one unit; the instant itself where the pointer rests."""
    said = f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}"
    shown = _from_now(int((at - now).total_seconds()))
    return format_html('<time datetime="{}" title="{}" class="nowrap">{}</time>', at.isoformat(), said, shown)


def _from_now(seconds: int) -> str:
    """As it fits into a column: 12 s ago, 47 min ago, in 3 h, in 2 d."""
    if seconds == 0:
        return _("now")
    size, unit = next(each for each in UNITS if abs(seconds) >= each[0])
    away = f"{abs(seconds) // size} {unit}"
    return _("in %s") % away if seconds > 0 else _("%s ago") % away
