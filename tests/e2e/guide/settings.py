"""The end-to-end settings, with a page for browsers and a way for Django to send an event."""

import os

from tests.e2e_settings import *  # noqa: F403
from tests.e2e_settings import LOGGING, MCP_SERVER, MCP_SESSIONS, MIDDLEWARE

MIDDLEWARE = [*MIDDLEWARE, "mcp_sessions.middleware.SessionMiddleware"]
ROOT_URLCONF = "tests.e2e.guide.urls"
SECRET_KEY_FALLBACKS = [os.environ["E2E_OLD_KEY"]] if "E2E_OLD_KEY" in os.environ else []

# The same server object three times: where sessions last as long as usual, where they soon expire, and where
# an older server had two paths. They expire no sooner than a process may be held up: or it has nothing to
# warn of any more, or is not used in time.
MCP_SESSIONS = {
    "HEARTBEAT_SECONDS": 3600,
    "SERVERS": {
        "/brief": {"SERVER": MCP_SERVER, "SESSION_TIMEOUT": 6, "SESSION_WARNING_SECONDS": 5},
        "/old": {"SERVER": MCP_SERVER, "SSE_PATHS": ["/sse", "/messages"]},
    },
    **MCP_SESSIONS,
    "SESSION_DEBUG": True,
}
# Everything that could give an id away is to be said.
LOGGING = {**LOGGING, "loggers": {**LOGGING["loggers"], "mcp_sessions": {"level": "DEBUG"}}}
