"""Whether anything serves the endpoints: the mount in asgi.py, or the project's URLs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.core.management import get_commands
from django.urls import NoReverseMatch, Resolver404, resolve, reverse
from django.utils.module_loading import import_string

from mcp_sessions.asgi import mounts
from mcp_sessions.conf import served_paths
from mcp_sessions.exceptions import ConfigurationError

OVER_ASGI: Final = {"daphne", "channels"}
"""The apps whose runserver serves ASGI_APPLICATION; Django's own serves WSGI."""
HINT: Final = (
    "In asgi.py, write application = mount(get_asgi_application()), and name it in ASGI_APPLICATION. "
    'Or add path("", include("mcp_sessions.urls")) to the project\'s urlpatterns, for POST alone.'
)


def check_serving() -> Iterator[CheckMessage]:
    # Without URLs there is no site: a worker's settings, perhaps.
    if not getattr(settings, "ROOT_URLCONF", None) or all(map(_has_url, served_paths())):
        return
    application = _application()
    if (problem := problem_of_mount()) is not None:
        yield Warning(f"No endpoint is served: {problem}.", hint=HINT, id="mcp_sessions.W010")
    elif sys.argv[1:2] == ["runserver"] and get_commands().get("runserver") not in OVER_ASGI:
        yield Warning(
            f"This runserver serves no endpoint: it does not run {application}.",
            hint='Put "daphne" first in INSTALLED_APPS, and name the application in ASGI_APPLICATION.',
            id="mcp_sessions.W011",
        )


def _has_url(path: str) -> bool:
    try:
        return resolve(path).kwargs.get("endpoint") == path
    except Resolver404:
        pass
    try:
        return bool(reverse("mcp_sessions:endpoint", kwargs={"endpoint": path}))
    except NoReverseMatch:
        return False


def _application() -> str:
    """As ASGI_APPLICATION says; else where `startproject` puts it. Servers do not ask Django."""
    package = settings.ROOT_URLCONF.partition(".")[0]
    return getattr(settings, "ASGI_APPLICATION", None) or f"{package}.asgi.application"


def problem_of_mount() -> str | None:
    """Why the project's ASGI application serves no endpoint, if so. To see that it is mounted, it is made."""
    application = _application()
    try:
        if find_spec(application.rpartition(".")[0]) is None:
            return f"there is no {application}, and no URL leads to one"
        import_string(application)
    except ConfigurationError:
        return None  # The mount is there; an error of its own says what it does not start with.
    except Exception as error:  # It is the project's own code.
        return f"{application} cannot be imported ({error}), and no URL leads to one"
    return None if mounts else f"{application} has no mount, and no URL leads to one"
