"""Sessions in Django's admin: read, and end."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from mcp_sessions.lifecycle import end_sync
from mcp_sessions.models import Session
from mcp_sessions.records import EndReason

if TYPE_CHECKING:
    SessionModelAdmin = admin.ModelAdmin[Session]
else:
    SessionModelAdmin = admin.ModelAdmin


class StateFilter(admin.SimpleListFilter):
    """Live sessions unless asked otherwise: those are what an operator looks for."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("expired", _("Expired")), ("ended", _("Ended")), ("all", _("All"))]

    def choices(self, changelist: Any) -> Any:
        choices = super().choices(changelist)
        yield {**next(choices), "display": _("Live")}
        yield from choices

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        now = timezone.now()
        named = {"expired": Session.objects.expired(now), "ended": Session.objects.ended()}
        if self.value() == "all":
            return queryset
        return queryset & named.get(self.value() or "", Session.objects.live(now))


@admin.register(Session)
class SessionAdmin(SessionModelAdmin):
    list_display = (
        "short_key",
        "client",
        "revision",
        "state",
        "owner",
        "address",
        "seen",
        "ends",
        "requests",
    )
    list_filter = (StateFilter, "server")
    search_fields = ("key__startswith", "owner__startswith")
    ordering = ("-pk",)
    show_full_result_count = False
    actions = ("end_sessions",)
    fieldsets = (
        (None, {"fields": ("key", "state", "server", "owner")}),
        (_("Client"), {"fields": ("client", "revision", "address", "user_agent", "requests", "connections")}),
        (_("Time"), {"fields": ("created_at", "last_accessed_at", "expires_at", "ended_at", "end_reason")}),
        (_("Contents"), {"fields": ("readable_data", "readable_metadata")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Ending a session ends it everywhere; a deleted row would leave its streams open."""
        return False

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("mcp_sessions.change_session")

    @admin.action(description=_("End selected sessions"), permissions=["end"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        ended = sum(end_sync(key, EndReason.OPERATOR) for key in queryset.values_list("key", flat=True))
        text = ngettext("%d session was ended.", "%d sessions were ended.", ended) % ended
        self.message_user(request, text, messages.SUCCESS)

    @admin.display(description=_("key"), ordering="key")
    def short_key(self, session: Session) -> str:
        """Enough to tell sessions apart; log lines have the whole key, and the search takes it."""
        return f"{session.key[:10]}…"

    @admin.display(description=_("last seen"), ordering="last_accessed_at")
    def seen(self, session: Session) -> str:
        return _("%s ago") % timesince(session.last_accessed_at, depth=1)

    @admin.display(description=_("state"))
    def state(self, session: Session) -> str:
        if session.ended_at is not None:
            return str(_("ended"))
        return str(_("live") if session.expires_at > timezone.now() else _("expired"))

    @admin.display(description=_("client"))
    def client(self, session: Session) -> str:
        client = session.metadata.get("client", {})
        name = " ".join(str(client[part]) for part in ("name", "version") if client.get(part))
        return name or str(session.metadata.get("user_agent", ""))[:40] or "-"

    @admin.display(description=_("revision"))
    def revision(self, session: Session) -> str:
        dialect = " (guide)" if session.metadata.get("dialect") == "guide" else ""
        version = session.metadata.get("protocol_version", "-")
        return format_html('<span style="white-space: nowrap">{}</span>{}', version, dialect)

    @admin.display(description=_("ends in"), ordering="expires_at")
    def ends(self, session: Session) -> str:
        now: datetime = timezone.now()
        is_live = session.ended_at is None and session.expires_at > now
        return timeuntil(session.expires_at, now, depth=1) if is_live else "-"

    @admin.display(description=_("address"))
    def address(self, session: Session) -> str:
        return session.metadata.get("address") or "-"

    @admin.display(description=_("user agent"))
    def user_agent(self, session: Session) -> str:
        return session.metadata.get("user_agent") or "-"

    @admin.display(description=_("requests"))
    def requests(self, session: Session) -> int:
        return int(session.metadata.get("requests", 0))

    @admin.display(description=_("connections"))
    def connections(self, session: Session) -> int:
        return int(session.metadata.get("connections", 0))

    @admin.display(description=_("data"))
    def readable_data(self, session: Session) -> str:
        return _readable(session.data)

    @admin.display(description=_("metadata"))
    def readable_metadata(self, session: Session) -> str:
        return _readable(session.metadata)


def _readable(value: Any) -> str:
    return format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True))
