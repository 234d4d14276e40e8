"""What the list of sessions is narrowed by: only what costs no look at every row."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from mcp_sessions.conf import served_paths
from mcp_sessions.models import STATES, Session
from mcp_sessions.records import EndReason


class StateFilter(admin.SimpleListFilter):
    """Live sessions unless asked otherwise: those are what an operator looks for.

    Who searches has a name from a log line in his hand, and wants that session, whatever became of it.
    A filter by end reason finds only sessions that have ended.
    """

    title = _("state")
    parameter_name = "state"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        has_reason = request.GET.get(EndReasonFilter.parameter_name)
        self._default = "all" if request.GET.get(SEARCH_VAR) else "ended" if has_reason else "live"
        super().__init__(request, *args)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("live", _("Live")), ("expired", _("Expired")), ("ended", _("Ended")), ("all", _("All"))]

    def value(self) -> str:
        return super().value() or self._default

    def choices(self, changelist: Any) -> Any:
        # Django's own first one would be a second way to say all.
        _all, *choices = super().choices(changelist)
        for choice, (state, _title) in zip(choices, self.lookup_choices, strict=True):
            # What has not ended has no reason.
            dropped = [] if state == "ended" else [EndReasonFilter.parameter_name]
            choice["query_string"] = changelist.get_query_string({self.parameter_name: state}, dropped)
        return choices

    def queryset(self, request: HttpRequest, queryset: Any) -> QuerySet[Session]:
        found: QuerySet[Session] = queryset
        return queryset.in_state(self.value(), timezone.now()) if self.value() in STATES else found


class EndpointFilter(admin.SimpleListFilter):
    title = _("endpoint")
    parameter_name = "server"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        paths = sorted(served_paths())
        return [(path, path) for path in paths] if len(paths) > 1 else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        return queryset if self.value() is None else queryset.filter(server=self.value())


class EndReasonFilter(admin.SimpleListFilter):
    title = _("end reason")
    parameter_name = "end_reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            (EndReason.DELETED, _("deleted by its client")),
            (EndReason.EXPIRED, _("expired")),
            (EndReason.IDLE, _("idle")),
            (EndReason.REPLACED, _("replaced at a limit")),
            (EndReason.OPERATOR, _("ended by an operator")),
            (EndReason.REVOKED, _("revoked")),
            (EndReason.ROTATED, _("rotated")),
            (EndReason.UNUSED, _("never used")),
        ]

    def choices(self, changelist: Any) -> Any:
        """Whichever state was listed: what is live or has expired has none of the reasons."""
        reasons = [None, *(reason for reason, _title in self.lookup_choices)]
        for choice, reason in zip(super().choices(changelist), reasons, strict=True):
            query = changelist.get_query_string({self.parameter_name: reason}, [StateFilter.parameter_name])
            yield {**choice, "query_string": query}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Session]) -> QuerySet[Session]:
        return queryset if self.value() is None else queryset.filter(end_reason=self.value())
