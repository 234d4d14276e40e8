"""The example's URLs, a page that runs the guide's JavaScript, and events sent by Django."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from example_project.urls import urlpatterns as example_patterns
from mcp_sessions import send_resource_updated, send_session_message

FOLDER: Final = Path(__file__).parent / "javascript"
URL_OF_THE_GUIDE: Final = "http://localhost:3001/mcp"
PAGE: Final = "<!doctype html><meta charset=utf-8><title>The guide's client</title>"


def page(request: HttpRequest) -> HttpResponse:
    """An empty page of the endpoint's origin; the test adds the scripts."""
    return HttpResponse(PAGE)


def script(request: HttpRequest, name: str) -> HttpResponse:
    """A snippet of the guide, unchanged but for the URL."""
    file = FOLDER / f"{name}.js"
    if not file.is_file():
        raise Http404
    text = file.read_text().replace(URL_OF_THE_GUIDE, request.build_absolute_uri("/mcp"))
    return HttpResponse(text, content_type="text/javascript; charset=utf-8")


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
