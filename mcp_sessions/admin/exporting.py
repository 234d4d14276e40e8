"""The sessions of the list as a file: what it is narrowed to, in its order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.core.serializers.json import DjangoJSONEncoder
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from mcp_sessions.models import Session

if TYPE_CHECKING:
    SessionModelAdmin = admin.ModelAdmin[Session]
else:
    SessionModelAdmin = admin.ModelAdmin

MOST: Final = 10_000
"""Sessions in one file, which is made in one piece."""
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet runs: clients choose their names."""

Facts = Sequence[dict[str, Any]]


class ExportingAdmin(SessionModelAdmin):
    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"export/{name}/",
                self.admin_site.admin_view(partial(self.export_view, name=name)),
                name=f"mcp_sessions_session_export_{name}",
            )
            for name in WRITERS
        ]
        return [*own, *super().get_urls()]

    def export_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """The list with the same query string, as CSV or JSON."""
        from mcp_sessions.analytics.listing import facts_of

        if not self.has_view_permission(request):
            raise PermissionDenied
        back = redirect("admin:mcp_sessions_session_changelist")
        try:
            found = list(self.get_changelist_instance(request).get_queryset(request)[: MOST + 1])
        except IncorrectLookupParameters:
            return back
        if len(found) > MOST:
            text = _("These are too many: narrow the list to at most %d sessions.") % MOST
            self.message_user(request, text, messages.ERROR)
            back["Location"] += f"?{request.GET.urlencode()}"
            return back
        now = timezone.now()
        content_type, write = WRITERS[name]
        response = HttpResponse(write([facts_of(row, now) for row in found]), content_type=content_type)
        response["Content-Disposition"] = f'attachment; filename="sessions.{name}"'
        return response


def _as_json(sessions: Facts) -> str:
    return json.dumps(sessions, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1)


def _as_csv(sessions: Facts) -> str:
    import csv

    from mcp_sessions.analytics.listing import facts_of

    text = StringIO()
    names = list(facts_of(Session(created_at=(now := timezone.now()), expires_at=now), now))
    writer = csv.writer(text)
    writer.writerow(names)
    writer.writerows([_cell(facts[name]) for name in names] for facts in sessions)
    return text.getvalue()


def _cell(value: Any) -> str:
    said = "" if value is None else str(value.isoformat() if hasattr(value, "isoformat") else value)
    return f"'{said}" if said.startswith(FORMULA) else said


WRITERS: Final = {
    "csv": ("text/csv; charset=utf-8", _as_csv),
    "json": ("application/json", _as_json),
}
