"""The ASGI application: the MCP endpoint, and Django for everything else."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from mcp_sessions.routing import mount

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

# The static files handler lets the admin look as it should under any server, with nothing collected.
# A real site leaves static files to its web server: `application = mount(get_asgi_application())`.
application = mount(ASGIStaticFilesHandler(get_asgi_application()))
