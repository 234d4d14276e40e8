"""The endpoints as Django URLs: `path("", include("mcp_sessions.urls"))`.

Each of MCP_SESSIONS' paths is the view, for POST and DELETE through Django's middleware; the paths of
HTTP+SSE are, too. Beside them is
the metadata of those that need a token; clients look for it at the root of the host, so include this there.
"""

from __future__ import annotations

import re

from django.urls import re_path

from mcp_sessions.conf import served_paths, sse_paths
from mcp_sessions.security.wellknown import WELL_KNOWN
from mcp_sessions.views import endpoint, resource_metadata

app_name = "mcp_sessions"


def _pattern(path: str) -> str:
    return rf"^{re.escape(path.strip('/'))}/?$"


urlpatterns = [
    *(re_path(_pattern(path), endpoint, {"endpoint": path}, name="endpoint") for path in served_paths()),
    *(
        re_path(_pattern(path), endpoint, {"endpoint": owner, "sse_path": path}, name="sse")
        for path, owner in sse_paths().items()
    ),
    re_path(rf"^{re.escape(WELL_KNOWN.strip('/'))}(?P<place>/.*|)$", resource_metadata, name="metadata"),
]
