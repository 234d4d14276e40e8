"""The list of sessions, which costs the same whether there are ten of them or a million."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

from mcp_sessions.admin.owners import show_owners
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.models import Session

if TYPE_CHECKING:
    from mcp_sessions.lifecycle import OpenNow

    SessionPaginator = Paginator[Session]
else:
    SessionPaginator = Paginator

BOUND: Final = 1000
"""Sessions that are counted, and that one can turn pages through."""


class Count(int):
    """How many sessions there are, or `BOUND` of them and more."""

    has_more = False

    def __str__(self) -> str:
        return f"{int(self)}+" if self.has_more else super().__str__()


class BoundedPaginator(SessionPaginator):
    """Counts no further than `BOUND`: a count of a million rows takes longer than the list."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        found = rows.order_by()[: BOUND + 1].count()
        count = Count(min(found, BOUND))
        count.has_more = found > BOUND
        return count


class OwnersChangeList(ChangeList):
    """With the owners of the rows of a page, as operators know them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: Any = list(self.result_list)
        show_owners(request, self.model_admin.admin_site, self.result_list)


class SessionChangeList(OwnersChangeList):
    """With what is open of the sessions of a page, and the days on which there may be some."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = self._open_now(request, [session.key for session in self.result_list])
        for session in self.result_list:
            session.open_now = found.get(session.key)

    def _open_now(self, request: HttpRequest, keys: Sequence[str]) -> Mapping[str, OpenNow]:
        from mcp_sessions.lifecycle import open_now

        try:
            return open_now(keys) if keys else {}
        except StoreUnavailable:
            text = _("The session store cannot be reached: open streams and running calls are unknown.")
            messages.warning(request, text)
            return {}

    @cached_property
    def dated(self) -> ChangeList:
        """The same list for Django's date hierarchy, which asks it for days."""
        dated = copy.copy(self)
        dated.queryset = Days(self.root_queryset, self.params)
        return dated


class Days:
    """Stands for a queryset: every day from the first session to the last, whether or not it had any.

    To ask which days had some is to look at every row. These cost two looks into an index.
    """

    def __init__(self, rows: QuerySet[Session], params: Mapping[str, Any]) -> None:
        times = rows.order_by("created_at").values_list("created_at", flat=True)
        self._first, self._last = times.first(), times.last()
        self._params = params

    def aggregate(self, **_: Any) -> dict[str, datetime | None]:
        return {"first": self._first, "last": self._last}

    def datetimes(self, field: str, kind: str) -> list[date]:
        """The first day of each year or month, or each day, within the year and month that are asked for."""
        if self._first is None or self._last is None:
            return []
        begin, end = timezone.localdate(self._first), timezone.localdate(self._last)
        days = (begin + timedelta(days=number) for number in range((end - begin).days + 1))
        first: dict[str, int] = {"year": {"month": 1, "day": 1}, "month": {"day": 1}}.get(kind, {})
        return sorted({day.replace(**first) for day in days if self._is_asked_for(field, day)})

    def _is_asked_for(self, field: str, day: date) -> bool:
        asked = {part: self._params.get(f"{field}__{part}") for part in ("year", "month")}
        return all(value is None or getattr(day, part) == int(value) for part, value in asked.items())
