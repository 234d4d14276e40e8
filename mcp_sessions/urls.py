"""The endpoints as Django URLs: `path("", include("mcp_sessions.urls"))`.

Each of MCP_SESSIONS' paths is the view, for POST and DELETE through Django's middleware. Beside them is
the metadata of those that need a token; clients look for it at the root of the host, so include this there.
"""

from __future__ import annotations

import re

from django.urls import re_path

from mcp_sessions.conf import served_paths
from mcp_sessions.security.wellknown import WELL_KNOWN
from mcp_sessions.views import endpoint, resource_metadata

app_name = "mcp_sessions"

urlpatterns = [
    re_path(rf"^{re.escape(path.strip('/'))}/?$", endpoint, {"endpoint": path}, name="endpoint")
    for path in served_paths()
]
urlpatterns += [
    re_path(rf"^{re.escape(WELL_KNOWN.strip('/'))}(?P<place>/.*|)$", resource_metadata, name="metadata"),
]
