"""System checks: every problem has an id, says what is wrong, and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error, Warning, run_checks

from mcp_sessions.checks import check_settings, check_sqlite
from mcp_sessions.conf import AppSettings, option_names, problems, served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.routing import mount

SERVER = {"SERVER": "tests.servers:server"}


async def django(scope: Any, receive: Any, send: Any) -> None:
    """Stands for the project's own application."""


def error(number: str, message: str, hint: str, obj: Any = None) -> Error:
    return Error(message, hint=hint, obj=obj, id=f"mcp_sessions.{number}")


WRONG: list[tuple[Any, Error]] = [
    (
        ["SERVER"],
        error(
            "E001", "MCP_SESSIONS is not a dict.", 'Write MCP_SESSIONS = {"SERVER": "package.module:object"}.'
        ),
    ),
    (
        {},
        error(
            "E002",
            "MCP_SESSIONS names no server object.",
            'Add "SERVER": "package.module:object" to MCP_SESSIONS.',
        ),
    ),
    (
        {"SERVER": 7},
        error("E003", "SERVER is not a dotted path.", 'Write it as "package.module:object".'),
    ),
    (
        {"SERVERS": {"mcp/": "tests.servers:server"}},
        error("E004", "SERVERS: 'mcp/' is not a path.", 'Begin it with "/" and end it without.'),
    ),
    (
        {"SERVERS": {"/mcp": {"SESSION_TIMEOUT": 5}}},
        error(
            "E003",
            "SERVERS: the entry for '/mcp' names no server object.",
            'Write "package.module:object", or {"SERVER": "package.module:object", …options}.',
        ),
    ),
    (
        {**SERVER, "SERVERS": {"/mcp": "tests.servers:other"}},
        error(
            "E003",
            "SERVER and SERVERS both have a server object for /mcp.",
            "Name the one for /mcp in one of them.",
        ),
    ),
    (
        {**SERVER, "SESION_TIMEOUT": 5},
        error("E005", "MCP_SESSIONS has no option 'SESION_TIMEOUT'.", "Did you mean SESSION_TIMEOUT?"),
    ),
    (
        {**SERVER, "SESSION_TIMEOUT": 0},
        error(
            "E006",
            "MCP_SESSIONS: SESSION_TIMEOUT = 0 cannot be.",
            "It is a number of seconds greater than 0.",
        ),
    ),
    (
        {"SERVERS": {"/mcp": {**SERVER, "MAX_BATCH": "many"}}},
        error(
            "E006",
            "MCP_SESSIONS for /mcp: MAX_BATCH = 'many' cannot be.",
            "It is a whole number greater than 0.",
        ),
    ),
]


@pytest.mark.parametrize(("chosen", "expected"), WRONG)
def test_what_is_wrong_is_said(settings: Any, chosen: Any, expected: Error) -> None:
    settings.MCP_SESSIONS = chosen
    assert check_settings() == [expected]


@pytest.mark.parametrize(("chosen", "expected"), WRONG)
def test_the_mount_does_not_start_on_it(settings: Any, chosen: Any, expected: Error) -> None:
    settings.MCP_SESSIONS = chosen
    with pytest.raises(ConfigurationError) as raised:
        mount(django)
    assert expected.msg in str(raised.value)


def test_a_server_that_cannot_be_loaded(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.servers:nothing"}
    (found,) = check_settings()
    assert (found.id, found.obj) == ("mcp_sessions.E007", "/mcp")
    assert "tests.servers:nothing" in found.msg


def test_an_object_that_is_no_server(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.servers:DEADLINE"}
    (found,) = check_settings()
    assert found.id == "mcp_sessions.E007"
    assert "is no server object" in found.msg


@pytest.mark.parametrize("backend", ["tests.nowhere.Store", "tests.servers.Gate"])
def test_a_store_that_cannot_be_made(settings: Any, backend: str) -> None:
    settings.MCP_SESSIONS = {**SERVER, "SESSION_STORE": {"BACKEND": backend}}
    (found,) = check_settings()
    assert found.id == "mcp_sessions.E008"


def test_sqlite_without_immediate_transactions(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the setting as a whole, and not for longer than needed: connections are made from it.
    deferred = {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}}
    with monkeypatch.context() as patch:
        patch.setitem(settings.DATABASES, "default", deferred)
        (found,) = check_sqlite()
    assert isinstance(found, Warning)
    assert found.id == "mcp_sessions.W001"


def test_posts_through_django_need_its_urls(settings: Any) -> None:
    chosen = {**SERVER, "POST_THROUGH_DJANGO": True}
    settings.MCP_SESSIONS = chosen
    settings.ROOT_URLCONF = "tests.urls"
    assert check_settings() == []
    settings.MCP_SESSIONS = {"SERVERS": {"/nowhere": chosen}}
    (found,) = check_settings()
    assert (found.id, found.obj) == ("mcp_sessions.E009", "/nowhere")


def test_nothing_is_wrong_with_the_tests_own_settings() -> None:
    assert run_checks(tags=["mcp_sessions"]) == []


def test_every_option_is_checked_or_known_to_need_none(settings: Any) -> None:
    """An impossible value of each option is a problem; SERVER and SERVERS have checks of their own."""
    for name in option_names() - {"SERVER", "SERVERS"}:
        settings.MCP_SESSIONS = {**SERVER, name: object()}
        assert [problem.id for problem in problems()] == ["E006"], name


def test_an_endpoint_may_differ(settings: Any) -> None:
    settings.MCP_SESSIONS = {
        "SESSION_TIMEOUT": 60,
        "SERVER": "a:b",
        "SERVERS": {"/long": {"SERVER": "c:d", "SESSION_TIMEOUT": 600}, "/plain": "e:f"},
    }
    assert served_paths() == {"/mcp": "a:b", "/long": "c:d", "/plain": "e:f"}
    assert [AppSettings(path).SESSION_TIMEOUT for path in ("/long", "/plain", "/mcp")] == [600, 60, 60]
