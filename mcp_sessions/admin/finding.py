"""A session is found by its full id, which must not be kept anywhere: not in a URL, a log, a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import SEARCH_VAR
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters

from mcp_sessions.identifiers import MAX_LENGTH, digest_of
from mcp_sessions.models import Session

if TYPE_CHECKING:
    SessionModelAdmin = admin.ModelAdmin[Session]
else:
    SessionModelAdmin = admin.ModelAdmin


class FindForm(forms.Form):
    session_id = forms.CharField(
        label=gettext_lazy("Full session id"),
        max_length=MAX_LENGTH,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "size": 24}),
    )


class FindingAdmin(SessionModelAdmin):
    """Looks an id up by its digest, from a field that is POSTed, and keeps ids out of the search."""

    def get_urls(self) -> list[URLPattern]:
        find = sensitive_post_parameters("session_id")(self.admin_site.admin_view(self.find_view))
        return [path("find/", find, name="mcp_sessions_session_find"), *super().get_urls()]

    def find_view(self, request: HttpRequest) -> HttpResponse:
        """To the page of the session with the POSTed id (or key). It is repeated nowhere."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        form = FindForm(request.POST)
        given = form.cleaned_data["session_id"] if form.is_valid() else ""
        is_it = Q(digest=digest_of(given)) | Q(key=given)
        if given and (found := self.get_queryset(request).filter(is_it).first()) is not None:
            return redirect("admin:mcp_sessions_session_change", found.pk)
        self.message_user(request, _("There is no session with this id."), messages.WARNING)
        return redirect("admin:mcp_sessions_session_changelist")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        from mcp_sessions.lifecycle import looks_like_id

        searched = request.GET.get(SEARCH_VAR, "")
        # Words may be quoted: those are searched for, too.
        unquoted = searched.replace('"', " ").replace("'", " ")
        if any(map(looks_like_id, [searched.strip(), *unquoted.split()])):
            return self._refuse_search(request)
        return super().changelist_view(request, {"find_form": FindForm(), **(extra_context or {})})

    def _refuse_search(self, request: HttpRequest) -> HttpResponse:
        text = _(
            "What you searched for looks like a session's id, which opens that session: it was not used. "
            "Use the field “Full session id”. As part of a URL it may be in an access log by now: "
            "better end that session."
        )
        self.message_user(request, text, messages.ERROR)
        rest = request.GET.copy()
        del rest[SEARCH_VAR]
        return redirect(f"{request.path}?{rest.urlencode()}".rstrip("?"))
