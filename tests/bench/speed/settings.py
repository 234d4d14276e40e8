"""The example project's settings as the comparison needs them.

What the other side has no limit for has none here.
"""

import os

os.environ["DEBUG"] = "0"

from tests.e2e_settings import *  # noqa: F403
from tests.e2e_settings import LOGGING as END_TO_END_LOGGING
from tests.e2e_settings import MCP_SESSIONS as END_TO_END

ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "tests.bench.speed.urls"

MCP_SESSIONS = {
    "MAX_SESSIONS_PER_CLIENT": None,
    "MAX_STREAMS_PER_CLIENT": None,
    **END_TO_END,
}

# The other side logs warnings, and nothing else.
LOGGING = {**END_TO_END_LOGGING, "root": {"handlers": ["console"], "level": "WARNING"}, "loggers": {}}
