"""The example's URLs, and metrics."""

from __future__ import annotations

from django.urls import path

from example_project.urls import urlpatterns as example_patterns
from mcp_sessions.views import prometheus_metrics

urlpatterns = [path("metrics", prometheus_metrics), *example_patterns]
