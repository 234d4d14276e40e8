from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_script_prefix

from mcp_sessions.conf import served_paths


def index(request: HttpRequest) -> HttpResponse:
    """What is served here and how to try it."""
    prefix = get_script_prefix().rstrip("/")
    endpoints = [request.build_absolute_uri(prefix + path) for path in served_paths()]
    return render(request, "helpdesk/index.html", {"endpoints": endpoints})
