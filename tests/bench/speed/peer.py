"""The other side: the official SDK serves the same tools by itself, with its sessions in memory."""

from __future__ import annotations

import logging
import os

from tests.e2e.servers.bench import server

# By default it logs several lines a request, which cost it half of its speed.
logging.disable(logging.INFO)

application = server.streamable_http_app(json_response=os.environ.get("REPLIES") == "json", max_sessions=None)
