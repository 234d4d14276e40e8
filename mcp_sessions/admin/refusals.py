"""Refused requests in Django's admin: the list, and the last ones on a session's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from mcp_sessions.admin.exporting import WRITERS, ExportingAdmin
from mcp_sessions.admin.filters import EndpointFilter
from mcp_sessions.admin.listing import BoundedPaginator, OwnersChangeList
from mcp_sessions.admin.owners import show_owners
from mcp_sessions.admin.rows import instant
from mcp_sessions.models import RefusalHour, Session
from mcp_sessions.stores import get_row_keeper

LAST: Final = 10
"""So many are on a session's page."""
COLUMNS: Final = ("hour", "last_at", "reason", "count", "server", "address", "owner", "key")
"""Of a file."""


@admin.register(RefusalHour)
class RefusalAdmin(ExportingAdmin):
    """For whoever may see sessions; nothing here adds, changes or deletes one."""

    list_display = ("last", "reason", "requests", "server", "address", "owner_name", "session")
    list_display_links = None
    list_filter = ("reason", EndpointFilter)
    search_fields = ("key__startswith", "owner__startswith", "address__startswith")
    search_help_text = _("The beginning of a session's key, an owner or an address.")
    ordering = ("-last_at", "-pk")
    sortable_by = ("last",)
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator

    class Media:
        css = {"all": ["mcp_sessions/admin/breadcrumbs.css", "mcp_sessions/admin/sessions.css"]}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: RefusalHour | None = None) -> bool:
        return request.user.has_perm("mcp_sessions.view_session")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RefusalHour | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RefusalHour | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[RefusalHour]:
        """Where the store has its rows."""
        keeper = get_row_keeper()
        rows = RefusalHour.objects.all() if keeper is None else RefusalHour.objects.using(keeper.alias)
        return rows.order_by(*self.ordering)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[OwnersChangeList]:
        return OwnersChangeList

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {"exports": list(WRITERS), **(extra_context or {})})

    def export_columns(self) -> Sequence[str]:
        return COLUMNS

    def facts_of(self, row: RefusalHour, now: datetime) -> dict[str, Any]:
        return {name: getattr(row, name) for name in COLUMNS}

    @admin.display(description=_("last"), ordering="last_at")
    def last(self, refusal: RefusalHour) -> str:
        return instant(refusal.last_at, timezone.now())

    @admin.display(description=_("requests in its hour"))
    def requests(self, refusal: RefusalHour) -> str:
        return str(refusal.count)

    @admin.display(description=_("owner"))
    def owner_name(self, refusal: Any) -> str:
        shown: str = refusal.shown_owner
        return shown

    @admin.display(description=_("session"))
    def session(self, refusal: RefusalHour) -> str:
        return session_link(self.admin_site, refusal.key)


def session_link(site: admin.AdminSite, key: str) -> str:
    """To the list, which finds the session; its row may be deleted by now."""
    if not key:
        return "-"
    url = reverse(f"{site.name}:mcp_sessions_session_changelist")
    return format_html('<a href="{}?q={}"><code title="{}">{}…</code></a>', url, key, key, key[:8])


def last_refusals(
    request: HttpRequest, site: admin.AdminSite, session: Session
) -> Sequence[Mapping[str, Any]]:
    """The newest of requests that named this session, and of its owner's."""
    from mcp_sessions.analytics.refusals import refusals_about

    now, alias = timezone.now(), session._state.db or "default"
    rows = list(refusals_about(alias, session.key, session.owner)[:LAST])
    show_owners(request, site, rows)
    return [
        {
            "row": row,
            "at": instant(row.last_at, now),
            "owner": row.shown_owner,  # type: ignore[attr-defined]
            "session": _("this") if row.key == session.key else session_link(site, row.key),
        }
        for row in rows
    ]
