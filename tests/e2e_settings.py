"""The example project's settings as end-to-end tests need them."""

import json
import os

from example_project.settings import *  # noqa: F403
from example_project.settings import MCP_SESSIONS as EXAMPLE

# What a test wants to be different, for one server process.
MCP_SESSIONS = {**EXAMPLE, **json.loads(os.environ.get("E2E_MCP_SESSIONS", "{}"))}
