"""The rows of a list as a file: what the list is narrowed to, in its order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
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

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyModelAdmin = admin.ModelAdmin

MAX_ROWS: Final = 10_000
"""Rows in one file, which is made in one piece."""
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet runs: clients choose their names."""

Facts = Sequence[dict[str, Any]]


class ExportingAdmin(AnyModelAdmin):
    def export_columns(self) -> Sequence[str]:
        raise NotImplementedError

    def facts_of(self, row: Any, now: datetime) -> dict[str, Any]:
        """What a file says of a row, by its columns."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"export/{name}/",
                self.admin_site.admin_view(partial(self.export_view, name=name)),
                name=f"{self.opts.app_label}_{self.opts.model_name}_export_{name}",
            )
            for name in WRITERS
        ]
        return [*own, *super().get_urls()]

    def export_view(self, request: HttpRequest, name: str) -> HttpResponse:
        """The list with the same query string, as CSV or JSON."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        back = redirect(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")
        try:
            found = list(self.get_changelist_instance(request).get_queryset(request)[: MAX_ROWS + 1])
        except IncorrectLookupParameters:
            return back
        if len(found) > MAX_ROWS:
            text = _("These are too many: narrow the list to at most %(count)d %(rows)s.")
            text %= {"count": MAX_ROWS, "rows": self.opts.verbose_name_plural}
            self.message_user(request, text, messages.ERROR)
            back["Location"] += f"?{request.GET.urlencode()}"
            return back
        now = timezone.now()
        content_type, write = WRITERS[name]
        facts = [self.facts_of(row, now) for row in found]
        response = HttpResponse(write(self.export_columns(), facts), content_type=content_type)
        response["Content-Disposition"] = f'attachment; filename="{self.opts.verbose_name_plural}.{name}"'
        return response


def _as_json(columns: Sequence[str], rows: Facts) -> str:
    return json.dumps(rows, cls=DjangoJSONEncoder, ensure_ascii=False, indent=1)


def _as_csv(columns: Sequence[str], rows: Facts) -> str:
    import csv

    text = StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(facts[name]) for name in columns] for facts in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    said = "" if value is None else str(value.isoformat() if hasattr(value, "isoformat") else value)
    return f"'{said}" if said.startswith(FORMULA) else said


WRITERS: Final = {
    "csv": ("text/csv; charset=utf-8", _as_csv),
    "json": ("application/json", _as_json),
}
