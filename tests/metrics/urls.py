"""The view that Prometheus asks, as a project has it."""

from django.urls import path

from mcp_sessions.views import prometheus_metrics

urlpatterns = [path("metrics", prometheus_metrics)]
