"""The URLs of the test project: the endpoints as views, as a project without the mount has them."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("mcp_sessions.urls")),
]
