"""The example project's settings as end-to-end tests need them."""

import json
import os

from example_project.settings import *  # noqa: F403
from example_project.settings import CHANNEL_LAYERS
from example_project.settings import MCP_SESSIONS as EXAMPLE

# A stopping server gives calls no longer than a test should wait; and what a test wants to be
# different, for one server process.
MCP_SESSIONS = {**EXAMPLE, "DRAIN_SECONDS": 3, **json.loads(os.environ.get("E2E_MCP_SESSIONS", "{}"))}

# Redis has one room for all that is published on it: clusters side by side must not hear each other.
if "CONFIG" in CHANNEL_LAYERS["default"]:
    CHANNEL_LAYERS["default"]["CONFIG"]["prefix"] = os.environ.get("E2E_CHANNEL_PREFIX", "asgi")
