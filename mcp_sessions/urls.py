"""The endpoints as Django URLs: `path("", include("mcp_sessions.urls"))`.

Each of MCP_SESSIONS' paths is the view, for POST and DELETE through Django's middleware.
"""

from __future__ import annotations

import re

from django.urls import re_path

from mcp_sessions.conf import served_paths
from mcp_sessions.views import endpoint

app_name = "mcp_sessions"

urlpatterns = [
    re_path(rf"^{re.escape(path.strip('/'))}/?$", endpoint, {"endpoint": path}, name="endpoint")
    for path in served_paths()
]
