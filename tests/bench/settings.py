"""The example project's settings as the bench needs them."""

import os

os.environ["DEBUG"] = "0"
os.environ.setdefault("SECRET_KEY", "only for the bench, and nothing is sealed by it that anybody keeps")

from tests.e2e_settings import *  # noqa: F403
from tests.e2e_settings import MCP_SERVER
from tests.e2e_settings import MCP_SESSIONS as END_TO_END

ALLOWED_HOSTS = ["testserver", "127.0.0.1"]

MCP_SESSIONS = {
    **{name: value for name, value in END_TO_END.items() if name != "SERVER"},
    # Half of the sessions, which are of 30 hours, can be deleted.
    "KEEP_ENDED_SECONDS": 15 * 3600,
    # Only the purge that is measured purges.
    "SESSION_GC_THRESHOLD": None,
    "SERVERS": {"/mcp": MCP_SERVER, "/reports": MCP_SERVER},
}

# What is measured is the database's work, not a terminal's.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"django": {"level": "WARNING"}},
}
