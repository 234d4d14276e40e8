"""The columns of the list of sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from mcp_sessions.admin.rows import instant, state_of
from mcp_sessions.models import Session
from mcp_sessions.records import client_of

if TYPE_CHECKING:
    SessionModelAdmin = admin.ModelAdmin[Session]
else:
    SessionModelAdmin = admin.ModelAdmin

STATES: Final = {"live": _("live"), "expired": _("expired"), "ended": _("ended")}


class ColumnsAdmin(SessionModelAdmin):
    list_display = (
        "short_key",
        "state",
        "client_name",
        "owner_name",
        "client_address",
        "revision",
        "opened",
        "seen",
        "ends",
        "streams_open",
        "calls_running",
        "requests",
    )
    # Columns with an index: to sort by another is to look at every row.
    sortable_by = ("opened",)

    @admin.display(description=_("key"))
    def short_key(self, session: Session) -> str:
        """Enough to tell sessions apart; log lines have the whole key, and the search takes it."""
        return format_html('<code title="{}">{}…</code>', session.key, session.key[:8])

    @admin.display(description=_("state"))
    def state(self, session: Session) -> str:
        state = state_of(session, timezone.now())
        return format_html('<span class="mcp-state mcp-{}">{}</span>', state, STATES[state])

    @admin.display(description=_("client"))
    def client_name(self, session: Session) -> str:
        metadata = session.metadata if isinstance(session.metadata, dict) else {}
        return _cut(client_of(metadata) or str(metadata.get("user_agent") or ""))

    @admin.display(description=_("owner"))
    def owner_name(self, session: Any) -> str:
        shown: str = session.shown_owner
        return shown

    @admin.display(description=_("address"))
    def client_address(self, session: Session) -> str:
        return _cut(session.address)

    @admin.display(description=_("revision"))
    def revision(self, session: Session) -> str:
        metadata = session.metadata if isinstance(session.metadata, dict) else {}
        version = str(metadata.get("protocol_version") or "-")
        dialect = " guide" if metadata.get("dialect") == "guide" else ""
        return format_html('<span class="nowrap">{}</span>{}', version, dialect)

    @admin.display(description=_("created"), ordering="created_at")
    def opened(self, session: Session) -> str:
        return instant(session.created_at, timezone.now())

    @admin.display(description=_("last seen"))
    def seen(self, session: Session) -> str:
        return instant(session.last_accessed_at, timezone.now())

    @admin.display(description=_("expires"))
    def ends(self, session: Session) -> str:
        is_live = state_of(session, timezone.now()) == "live"
        return instant(session.expires_at, timezone.now()) if is_live else "-"

    @admin.display(description=_("streams open"))
    def streams_open(self, session: Any) -> str:
        return "?" if session.open_now is None else str(session.open_now.connections)

    @admin.display(description=_("calls running"))
    def calls_running(self, session: Any) -> str:
        return "?" if session.open_now is None else str(session.open_now.running_calls)


def _cut(text: str) -> str:
    """In a column that is no wider than others; the whole of it where the pointer rests."""
    return format_html('<span class="mcp-cut" title="{}">{}</span>', text, text) if text else "-"
