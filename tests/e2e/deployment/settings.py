"""The settings that docs/deployment.md shows, with what is a test's own: names, and how long things take."""

import json
import os
from typing import Any

from tests.e2e_settings import *  # noqa: F403
from tests.e2e_settings import DATABASES as TEST_DATABASES
from tests.e2e_settings import MCP_SERVER
from tests.harness.pages import examples

_shown: dict[str, Any] = {}
exec(examples("deployment.md")["postgresql"], _shown)

# With Redis and RabbitMQ, if a test says so.
if "E2E_SERVICES" in os.environ:
    exec(examples("deployment.md")["services"], _shown)
    CHANNEL_LAYERS: dict[str, Any] = _shown["CHANNEL_LAYERS"]
    CELERY_BROKER_URL: str = _shown["CELERY_BROKER_URL"]

_own = {name: TEST_DATABASES["default"][name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")}

DEBUG: bool = _shown["DEBUG"]
ALLOWED_HOSTS: list[str] = [*_shown["ALLOWED_HOSTS"], "127.0.0.1"]
SECURE_PROXY_SSL_HEADER: tuple[str, str] = _shown["SECURE_PROXY_SSL_HEADER"]
DATABASES = {"default": {**_shown["DATABASES"]["default"], **_own}}
MCP_SESSIONS = {
    **_shown["MCP_SESSIONS"],
    "SERVER": MCP_SERVER,
    # Whom the server is for is not this page's to say.
    "AUTHENTICATORS": ["mcp_sessions.security.authentication.AllowAnonymous"],
    **json.loads(os.environ.get("E2E_MCP_SESSIONS", "{}")),
}
