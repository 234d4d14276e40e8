"""The end-to-end settings as pages are tested with them: a strict policy on what pages may load and run."""

from tests.e2e_settings import *  # noqa: F403
from tests.e2e_settings import MCP_SESSIONS, MIDDLEWARE

MIDDLEWARE = ["tests.browser.policy.ContentSecurityPolicy", *MIDDLEWARE]

MCP_SESSIONS = {
    **MCP_SESSIONS,
    # A call is a row at once, and nobody's session gives way to another test's.
    "STREAM_AFTER_SECONDS": 0.05,
    "MAX_SESSIONS_PER_CLIENT": None,
    # Clients say where they come from.
    "TRUSTED_PROXIES": 1,
    # What has ended is looked at.
    "KEEP_ENDED_SECONDS": 3600,
}
