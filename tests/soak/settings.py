"""The settings of a soak's workers."""

from tests.e2e_settings import *  # noqa: F403
from tests.e2e_settings import LOGGING

# It logs a traceback for each attempt to reach a Redis that is away, which is no fault of a worker.
LOGGING = {**LOGGING, "loggers": {**LOGGING.get("loggers", {}), "channels_redis": {"level": "CRITICAL"}}}
