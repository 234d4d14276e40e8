"""How operators do things to sessions: they are asked first, and the history keeps who did what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from mcp_sessions.admin.operations import END, END_OWNED, EXTEND, OPERATIONS, ROTATE, KnowsNoEvents, Operation
from mcp_sessions.admin.rows import record_of
from mcp_sessions.exceptions import InvalidSessionData, RotationRefused, SessionNotFound, StoreUnavailable
from mcp_sessions.models import Session
from mcp_sessions.stores import get_store

if TYPE_CHECKING:
    SessionModelAdmin = admin.ModelAdmin[Session]
else:
    SessionModelAdmin = admin.ModelAdmin

DESCRIBED: Final = 20
"""Of the sessions that somebody is asked about."""
MAX_AT_ONCE: Final = 500
"""Sessions of one action: Django takes no form of more than 1,000 fields, and somebody waits for it."""


class OperatingAdmin(SessionModelAdmin):
    """Ends and extends sessions and sends them events, from the list or a session's page."""

    actions = ("end_sessions", "end_owned_sessions", "extend_sessions", "rotate_sessions")

    def has_end_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("mcp_sessions.end_session")

    @admin.action(description=gettext_lazy("End selected sessions"), permissions=["end"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[Session]) -> HttpResponse | None:
        return self._act(request, END, queryset)

    @admin.action(
        description=gettext_lazy("End all sessions of the selected sessions' owners"), permissions=["end"]
    )
    def end_owned_sessions(self, request: HttpRequest, queryset: QuerySet[Session]) -> HttpResponse | None:
        return self._act(request, END_OWNED, queryset)

    @admin.action(description=gettext_lazy("Extend selected sessions"), permissions=["end"])
    def extend_sessions(self, request: HttpRequest, queryset: QuerySet[Session]) -> HttpResponse | None:
        return self._act(request, EXTEND, queryset)

    @admin.action(description=gettext_lazy("Rotate ids of selected sessions"), permissions=["end"])
    def rotate_sessions(self, request: HttpRequest, queryset: QuerySet[Session]) -> HttpResponse | None:
        return self._act(request, ROTATE, queryset)

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{operation.name}/",
                self.admin_site.admin_view(partial(self.operate_view, operation=operation)),
                name=f"mcp_sessions_session_{operation.name}",
            )
            for operation in OPERATIONS
        ]
        return [*own, *super().get_urls()]

    def operate_view(self, request: HttpRequest, object_id: str, operation: Operation) -> HttpResponse:
        """A form, and what becomes of it, for one session."""
        if not self.has_view_permission(request) or not self.has_end_permission(request):
            raise PermissionDenied
        session = self.get_object(request, unquote(object_id))
        if session is None:
            return self.answer_missing(request, object_id)
        page = redirect("admin:mcp_sessions_session_change", session.pk)
        if session.ended_at is not None and not operation.takes_ended:
            self.message_user(request, _("The session has ended already."), messages.WARNING)
            return page
        return self._ask(request, operation, [session], back=page.url) or page

    def answer_missing(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """As Django's own pages do, by what its stubs leave out."""
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined, no-any-return]

    def _act(
        self, request: HttpRequest, operation: Operation, queryset: QuerySet[Session]
    ) -> HttpResponse | None:
        sessions = list(queryset[: MAX_AT_ONCE + 1])
        if len(sessions) > MAX_AT_ONCE:
            text = _("These are too many: select at most %d sessions at a time.") % MAX_AT_ONCE
            self.message_user(request, text, messages.ERROR)
            return None
        return self._ask(request, operation, sessions, back=request.get_full_path())

    def _ask(
        self, request: HttpRequest, operation: Operation, sessions: Sequence[Session], back: str
    ) -> HttpResponse | None:
        """The form until it is filled in, and None once it is done what it says."""
        is_answered = request.method == "POST" and "post" in request.POST
        form = operation.form(request.POST if is_answered else None)
        if is_answered and form.is_valid() and self._perform(request, operation, sessions, form):
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": operation.title % len(sessions),
            "explanation": operation.explanation % len(sessions),
            "button": operation.button % len(sessions),
            "operation": operation,
            "sessions": sessions,
            "described": [record_of(session) for session in sessions[:DESCRIBED]],
            "form": form,
            "back": back,
            "action": request.POST.get("action", ""),
        }
        return TemplateResponse(request, "admin/mcp_sessions/session/operate.html", context)

    def _perform(
        self, request: HttpRequest, operation: Operation, sessions: Sequence[Session], form: forms.Form
    ) -> bool:
        """Whether it was tried. If not, the form says why."""
        outcomes = Counter[str]()
        try:
            for session in sessions:
                outcomes[self._perform_one(request, operation, session, form)] += 1
        except InvalidSessionData as error:
            form.add_error(None, str(error))
            return False
        except StoreUnavailable as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            # Of those that were chosen in the list, some may have left it since.
            chosen = len(request.POST.getlist(ACTION_CHECKBOX_NAME))
            outcomes["over"] += max(0, chosen - outcomes.total())
        self._tell(request, operation, outcomes)
        return True

    def _perform_one(
        self, request: HttpRequest, operation: Operation, session: Session, form: forms.Form
    ) -> str:
        """done, over, deaf or fixed: what became of it."""
        try:
            said = operation.perform(session.key, form.cleaned_data)
        except SessionNotFound:
            return "over"
        except KnowsNoEvents:
            return "deaf"
        except RotationRefused:
            return "fixed"
        self.log_change(request, session, said)
        return "done"

    def _tell(self, request: HttpRequest, operation: Operation, outcomes: Counter[str]) -> None:
        if done := outcomes["done"]:
            self.message_user(request, operation.done % done, messages.SUCCESS)
        if over := outcomes["over"]:
            text = ngettext("%d session had already ended.", "%d sessions had already ended.", over) % over
            if not get_store().shared_by_processes:
                text = _(
                    "Sessions that have ended, or are in the memory of another process, were not changed."
                )
            self.message_user(request, text, messages.WARNING)
        if fixed := outcomes["fixed"]:
            text = ngettext(
                "%d session keeps its id: its client cannot learn another one.",
                "%d sessions keep their ids: their clients cannot learn other ones.",
                fixed,
            )
            self.message_user(request, text % fixed, messages.WARNING)
        if outcomes["deaf"]:
            text = _("Nothing was sent: the client speaks the specification, and knows no named events.")
            self.message_user(request, text, messages.WARNING)
