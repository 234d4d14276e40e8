"""Sessions in Django's admin: the list and a page for each; read, end, extend, send an event.

Django imports this module in every process that has an admin, Celery workers and commands too. The modules
that read and change sessions are imported by the views that need them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import and_, or_
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.template.response import TemplateResponse
from django.utils.text import smart_split, unescape_string_literal
from django.utils.translation import gettext_lazy as _

from mcp_sessions.admin.columns import ColumnsAdmin
from mcp_sessions.admin.exporting import WRITERS, ExportingAdmin
from mcp_sessions.admin.filters import EndpointFilter, EndReasonFilter, StateFilter
from mcp_sessions.admin.finding import FindingAdmin
from mcp_sessions.admin.listing import BoundedPaginator, SessionChangeList
from mcp_sessions.admin.operating import OperatingAdmin
from mcp_sessions.admin.owners import shown_owner, users_of
from mcp_sessions.models import Session, SessionQuerySet
from mcp_sessions.stores import get_row_keeper, get_store

LOOKUPS: Final = frozenset({"created_at__year", "created_at__month", "created_at__day"})
"""What may be in the list's URL besides its filters. Django admits lookups into every column, by which who
counts what is found could read data and digests, letter by letter."""
_PART_OF_KEY: Final = re.compile("[0-9a-f]{1,32}")
_WORD: Final = re.compile(r"(?![0-9a-f]{8})[^\W\d]")
"""What a word of a name may begin with: no number, address or key, which are searched for most."""


@admin.register(Session)
class SessionAdmin(ColumnsAdmin, FindingAdmin, OperatingAdmin, ExportingAdmin):
    list_filter = (StateFilter, EndpointFilter, EndReasonFilter)
    date_hierarchy = "created_at"
    search_fields = ("key", "owner", "address", "client")
    search_help_text = _("The beginning of a key, an owner or an address, or of a word of a client's name.")
    ordering = ("-created_at", "-pk")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator

    class Media:
        css = {"all": ["mcp_sessions/admin/breadcrumbs.css", "mcp_sessions/admin/sessions.css"]}

    def get_urls(self) -> list[Any]:
        from mcp_sessions.admin.dashboard import dashboard_urls

        return [*dashboard_urls(self), *super().get_urls()]

    # -- who may do what -----------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Ending a session ends it everywhere; a deleted row would leave its streams open."""
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        return lookup in LOOKUPS or lookup in {each.parameter_name for each in self.list_filter}

    def export_columns(self) -> Sequence[str]:
        from mcp_sessions.analytics.listing import COLUMNS

        return COLUMNS

    def facts_of(self, row: Session, now: datetime) -> dict[str, Any]:
        from mcp_sessions.analytics.listing import facts_of

        return facts_of(row, now)

    def has_payload_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("mcp_sessions.view_session_payload")

    # -- the list ------------------------------------------------------------------------

    def get_queryset(self, request: HttpRequest) -> SessionQuerySet:
        """Where the store has its rows; without what may be a megabyte each."""
        keeper = get_row_keeper()
        rows = Session.objects.all() if keeper is None else Session.objects.using(keeper.alias)
        return rows.defer("data").order_by(*self.ordering)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SessionChangeList]:
        return SessionChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Session], search_term: str
    ) -> tuple[QuerySet[Session], bool]:
        """Every word begins something of a session, or all of them together do."""
        words = [_unquoted(word) for word in smart_split(search_term)]
        is_found = reduce(and_, map(_begins, words), Q())
        if len(words) > 1:
            is_found |= _begins(search_term.strip())
        return queryset.filter(is_found), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            "is_summary": not get_store().keeps_rows,
            "exports": list(WRITERS),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    # -- the page ------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """One session, to be read."""
        from mcp_sessions.admin.pages import page_of
        from mcp_sessions.admin.refusals import last_refusals

        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseForbidden()
        session = self.get_object(request, unquote(object_id))
        if session is None:
            return self.answer_missing(request, object_id)
        owners = users_of([session.owner])
        context = {
            **self.admin_site.each_context(request),
            **page_of(session, shows_payload=self.has_payload_permission(request)),
            "opts": self.opts,
            "media": self.media,
            "title": _("Session"),
            "subtitle": session.key,
            "original": session,
            "change": True,
            "has_view_permission": True,
            "owner": shown_owner(request, self.admin_site, session.owner, owners.get(session.owner)),
            "may_end": self.has_end_permission(request),
            "refusals": last_refusals(request, self.admin_site, session),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/mcp_sessions/session/change_form.html", context)


def _begins(text: str) -> Q:
    """What begins with this, by an index each; clients are kept in lower case.

    A word inside a client's name has no index. What cannot be one is not looked for there.
    """
    is_found = Q(owner__startswith=text) | Q(address__startswith=text) | Q(client__startswith=text.lower())
    if _WORD.match(text):
        is_found |= reduce(or_, (Q(client__contains=f"{mark}{text.lower()}") for mark in " -_/"))
    # The index of keys is none for LIKE. They are hexadecimal, and g comes after all of that.
    return is_found | Q(key__gte=text, key__lt=f"{text}g") if _PART_OF_KEY.fullmatch(text) else is_found


def _unquoted(word: str) -> str:
    is_quoted = len(word) > 1 and word[0] in "\"'" and word[0] == word[-1]
    return unescape_string_literal(word) if is_quoted else word
