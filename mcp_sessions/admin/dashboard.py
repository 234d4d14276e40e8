"""The dashboard: a page, its figures, and the stream of session events that keeps it up to date."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dates import WEEKDAYS_ABBR
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from mcp_sessions.admin.figures import DEFAULT_TIMEFRAME, TIMEFRAMES, figures
from mcp_sessions.conf import served_paths
from mcp_sessions.runtime import run_sync
from mcp_sessions.stores import get_row_keeper

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin

NAME: Final = "mcp_sessions_session"
"""What names of the admin's URLs begin with."""

View = Callable[[ModelAdmin, HttpRequest], HttpResponseBase]


def dashboard_urls(model_admin: ModelAdmin) -> list[URLPattern]:
    """For `get_urls`, before Django's: theirs take any path for an object's."""
    guarded = partial(_guarded, model_admin)
    return [
        path("dashboard/", guarded(page), name=f"{NAME}_dashboard"),
        path("dashboard/figures/", guarded(new_figures), name=f"{NAME}_dashboard_figures"),
        path("dashboard/events/", guarded(events), name=f"{NAME}_dashboard_events"),
    ]


def _guarded(model_admin: ModelAdmin, view: View) -> Callable[..., Any]:
    """For who may see sessions; whoever has not logged in is asked to."""

    def guarded(request: HttpRequest) -> HttpResponseBase:
        if not model_admin.has_view_permission(request):
            raise PermissionDenied
        return view(model_admin, request)

    return model_admin.admin_site.admin_view(update_wrapper(guarded, view))


def page(model_admin: ModelAdmin, request: HttpRequest) -> HttpResponseBase:
    """The first figures are in it."""
    timeframe, server = _asked(request)
    servers = list(served_paths())
    context = {
        **model_admin.admin_site.each_context(request),
        "title": _("Session dashboard"),
        "opts": model_admin.opts,
        "timeframes": [(name, label) for name, (_length, label) in TIMEFRAMES.items()],
        "timeframe": timeframe,
        "servers": servers if len(servers) > 1 else [],
        "server": server,
        "time_zone": timezone.get_current_timezone_name(),
        "data": _data(model_admin, request, timeframe, server) if get_row_keeper() else None,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/mcp_sessions/session/dashboard.html", context)


def new_figures(model_admin: ModelAdmin, request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(figures(*_asked(request)))


def events(model_admin: ModelAdmin, request: HttpRequest) -> HttpResponseBase:
    """What happens to sessions, as server-sent events; 503 where the page has to do without."""
    # django-eventstream takes longer to import than the rest of the admin.
    from mcp_sessions.admin.feed import MAX_STREAMS, get_feed, watch

    if not isinstance(request, ASGIRequest):
        return HttpResponse("Streams need ASGI.", status=503, content_type="text/plain")
    feed = run_sync(get_feed())
    if feed.watchers >= MAX_STREAMS or feed.is_over:
        return HttpResponse("This process has too many live pages.", status=503, content_type="text/plain")
    response = StreamingHttpResponse(watch(feed, request.user), content_type="text/event-stream")
    # For nginx, which would keep events until it has enough of them.
    response["X-Accel-Buffering"] = "no"
    return response


def _asked(request: HttpRequest) -> tuple[str, str]:
    """The timeframe and endpoint of the query string; what is not there gives way to what is."""
    timeframe, server = request.GET.get("timeframe", ""), request.GET.get("server", "")
    return (
        timeframe if timeframe in TIMEFRAMES else DEFAULT_TIMEFRAME,
        server if server in served_paths() else "",
    )


def _data(model_admin: ModelAdmin, request: HttpRequest, timeframe: str, server: str) -> dict[str, Any]:
    """What the page's script works with."""
    url = partial(_url, model_admin)
    return {
        "figures": figures(timeframe, server),
        "timeframe": timeframe,
        "server": server,
        "has_endpoints": len(served_paths()) > 1,
        "sessions": url("changelist"),
        "refresh": url("dashboard_figures"),
        "events": url("dashboard_events") if isinstance(request, ASGIRequest) else None,
        "language": get_language(),
        # As browsers write those that are an offset only.
        "time_zone": timezone.get_current_timezone_name().removeprefix("UTC") or "UTC",
        "texts": _texts(),
    }


def _url(model_admin: ModelAdmin, name: str) -> str:
    return reverse(f"admin:{NAME}_{name}", current_app=model_admin.admin_site.name)


def _texts() -> dict[str, Any]:
    return {
        "live": _("Live"),
        "opened": _("Opened"),
        "ended": _("Ended"),
        "sessions": _("Sessions"),
        "time": _("Time"),
        "duration": _("Duration"),
        "share": _("Share"),
        "other": _("other"),
        "client": _("Client"),
        "revision": _("Revision"),
        "reason": _("Reason"),
        "refused": _("Refused requests"),
        "requests": _("Requests"),
        "address": _("Address"),
        "owner": _("Owner"),
        "session": _("Session"),
        "endpoint": _("Endpoint"),
        "last": _("Last"),
        "hour": _("Hour"),
        "weekday": _("Weekday"),
        "weekdays": [str(WEEKDAYS_ABBR[day]) for day in range(7)],
        "reasons": {
            "deleted": _("by its client"),
            "expired": _("expired"),
            "idle": _("idle"),
            "replaced": _("replaced"),
            "operator": _("by an operator"),
            "unused": _("never used"),
            "revoked": _("revoked"),
            "rotated": _("rotated"),
        },
        "states": {
            "connecting": _("connecting"),
            "live": _("live"),
            "reconnecting": _("reconnecting"),
            "off": _("live updates are off, refreshed every 15 seconds"),
            "out": _("stopped: log in again, or get the permission"),
        },
    }
