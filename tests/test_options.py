"""When an option has another value than before."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test.utils import override_settings

from mcp_sessions.conf import AppSettings, app_settings


def project(value: int) -> dict[str, object]:
    return {"MAX_SESSIONS_PER_CLIENT": value}


def limit() -> int | None:
    return app_settings.MAX_SESSIONS_PER_CLIENT


def test_options_are_read_at_each_access(monkeypatch: pytest.MonkeyPatch) -> None:
    """However a project or its tests change them, with Django's signal or without."""
    at_first = limit()
    default = AppSettings.MAX_SESSIONS_PER_CLIENT.default
    with monkeypatch.context() as patched:
        patched.setattr(settings, "MCP_SESSIONS", project(7))
        assert limit() == 7
        with override_settings(MCP_SESSIONS=project(8)):
            assert limit() == 8
            settings.MCP_SESSIONS = {"SERVERS": {"/mcp": project(9)}, **project(10)}
            assert limit() == 10
            assert AppSettings("/mcp").MAX_SESSIONS_PER_CLIENT == 9
            settings.MCP_SESSIONS["MAX_SESSIONS_PER_CLIENT"] = 11
            assert limit() == 11
            del settings.MCP_SESSIONS
            assert limit() == default
        assert limit() == 7
    assert limit() == at_first
