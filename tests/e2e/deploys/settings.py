"""The end-to-end settings with the channel layer that the environment names."""

from __future__ import annotations

import logging
import os
import traceback

from tests.e2e_settings import *  # noqa: F403
from tests.e2e_settings import LOGGING

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": os.environ["E2E_CHANNEL_LAYER"],
        "CONFIG": {"hosts": [os.environ["REDIS_URL"]], "prefix": os.environ["E2E_CHANNEL_PREFIX"]},
    }
}


class NotTheLayers(logging.Filter):
    """Leaves out what the layer's own tasks die of while Redis is away, which tests do not look for."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return error is None or "channels_redis" not in "".join(traceback.format_exception(error))


LOGGING["filters"] = {"not the layer's": {"()": NotTheLayers}}
LOGGING["handlers"]["console"]["filters"] = ["not the layer's"]
