"""What each endpoint names: its server object, its URL, its generator of session ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.core.checks import CheckMessage, Error
from django.urls import Resolver404, resolve

from mcp_sessions.conf import AppSettings, served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.lifecycle.manager import SessionManager
from mcp_sessions.protocol.servers import load

DRAWS: Final = 8
"""Ids that are drawn to see that they are usable, and differ."""


def check_servers() -> Iterator[CheckMessage]:
    for path, dotted_path in served_paths().items():
        try:
            load(dotted_path)
        except ConfigurationError as error:
            hint = 'Name it as "package.module:object"; the module must be importable.'
            yield Error(str(error), hint=hint, obj=path, id="mcp_sessions.E007")


def check_urls() -> Iterator[CheckMessage]:
    for path in served_paths():
        if not AppSettings(path).POST_THROUGH_DJANGO:
            continue
        for url in (path, *AppSettings(path).SSE_PATHS[1:]):
            try:
                resolve(url)
            except Resolver404:
                hint = 'Add path("", include("mcp_sessions.urls")) to the project\'s urlpatterns.'
                message = f"POST_THROUGH_DJANGO is on for {path}, and Django has no URL {url}."
                yield Error(message, hint=hint, obj=path, id="mcp_sessions.E009")


def check_generators() -> Iterator[CheckMessage]:
    for path in served_paths():
        try:
            drawn = {SessionManager(path).generate_session_id() for _ in range(DRAWS)}
        except ConfigurationError as error:
            message = str(error)
        else:
            if len(drawn) == DRAWS:
                continue
            message = "SESSION_ID_GENERATOR made the same id twice."
        hint = (
            "It is a callable without arguments, or the dotted path of one, and returns 22 to 128 of "
            "A-Z, a-z, 0-9, - and _, of which 128 bits are chance: secrets.token_urlsafe, for instance."
        )
        yield Error(message, hint=hint, obj=path, id="mcp_sessions.E011")
