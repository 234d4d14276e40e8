"""The end-to-end settings, with everything logged that any library has to say."""

from tests.e2e_settings import *  # noqa: F403
from tests.e2e_settings import LOGGING, MCP_SESSIONS

MCP_SESSIONS = {**MCP_SESSIONS, "SESSION_DEBUG": True}
LOGGING = {**LOGGING, "root": {**LOGGING["root"], "level": "DEBUG"}, "loggers": {}}
