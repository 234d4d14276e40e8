"""The example's URLs, a page that runs the guide's JavaScript, and events sent by Django."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from example_project.urls import urlpatterns as example_patterns
from mcp_sessions import send_resource_updated, send_session_message

FOLDER: Final = Path(__file__).parent / "javascript"
URL_OF_THE_GUIDE: Final = "http://localhost:3001/mcp"
# The snippets that a page begins with. The one with the requests is added once there is a session.
AT_ONCE: Final = ("establishing_a_session", "session_resumption", "sse_session_events", "session_not_found")
# What the snippets call and do not show.
NOT_SHOWN: Final = """
const called = [];
function establishNewSession() { called.push("establishNewSession"); new EventSource("/mcp"); }
function reconnect() { called.push("reconnect"); }
function reconnectWithNewSession() { called.push("reconnectWithNewSession"); }
"""


def page(request: HttpRequest) -> HttpResponse:
    """A page of the endpoint's origin with the guide's JavaScript."""
    scripts = "\n".join([NOT_SHOWN, *(snippet(request, name) for name in AT_ONCE)])
    head = "<!doctype html><meta charset=utf-8><title>Guide</title><link rel=icon href=data:,>"
    return HttpResponse(f"{head}<script>{scripts}</script>")


def script(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(snippet(request, name), content_type="text/javascript; charset=utf-8")


def snippet(request: HttpRequest, name: str) -> str:
    """A snippet of the guide, unchanged but for the URL."""
    text = (FOLDER / f"{name}.js").read_text()
    return text.replace(URL_OF_THE_GUIDE, request.build_absolute_uri("/mcp"))


@csrf_exempt
@require_POST
def send_event(request: HttpRequest) -> JsonResponse:
    """What any code of the project can do: {"key": …, "event": …, "data": …}."""
    given = json.loads(request.body)
    send_session_message(given["key"], event=given["event"], data=given["data"])
    return JsonResponse({"sent": given["event"]})


@csrf_exempt
@require_POST
def resource_updated(request: HttpRequest) -> JsonResponse:
    """Tell the subscribers of {"uri": …}."""
    uri = json.loads(request.body)["uri"]
    send_resource_updated(uri)
    return JsonResponse({"updated": uri})


urlpatterns = [
    path("guide/", page),
    path("guide/<slug:name>.js", script),
    path("send-event", send_event),
    path("resource-updated", resource_updated),
    *example_patterns,
]
