"""System checks: every problem has an id, says what is wrong, and what to do."""

from __future__ import annotations

import ast
import json
import logging
import re
import secrets
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from django.core.checks import CheckMessage, Error, Info, Warning, run_checks
from prometheus_client import CollectorRegistry

import mcp_sessions
from mcp_sessions.checks import check_configuration, check_deployment, check_exposure, check_settings, serving
from mcp_sessions.conf import OPTIONS as DECLARED
from mcp_sessions.conf import AppSettings, served_paths
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.routing import mount
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.database import DatabaseSessionStore
from tests.harness import forking
from tests.harness.server import environment
from tests.servers import DEADLINE

SERVER = {"SERVER": "tests.servers:server"}
AUTHENTICATOR = "mcp_sessions.security.authentication.AllowAnonymous"


async def django(scope: Any, receive: Any, send: Any) -> None:
    """Stands for the project's own application."""


@pytest.fixture(autouse=True)
def _mounted(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something serves whatever endpoints the tests have."""
    settings.ASGI_APPLICATION = "tests.test_checks.django"
    monkeypatch.setattr(serving, "mounts", {django})


def error(number: str, message: str, hint: str, obj: Any = None) -> Error:
    return Error(message, hint=hint, obj=obj, id=f"mcp_sessions.{number}")


def warning(number: str, message: str, hint: str, obj: Any = None) -> Warning:
    return Warning(message, hint=hint, obj=obj, id=f"mcp_sessions.{number}")


# -- MCP_SESSIONS as a whole -----------------------------------------------------------------

DICT_HINT = 'Write MCP_SESSIONS = {"SERVER": "package.module:object"}.'
ENTRY_HINT = 'Write "package.module:object", or {"SERVER": "package.module:object", …options}.'
PATH_HINT = 'Begin it with "/" and end it without.'
OUTSIDE_HINT = "Set it in MCP_SESSIONS itself, outside of SERVERS."

WRONG: list[tuple[Any, Error]] = [
    (["SERVER"], error("E001", "MCP_SESSIONS is not a dict.", DICT_HINT)),
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
        {"SERVERS": ["/mcp"]},
        error("E003", "SERVERS is not a dict.", 'Write it as {"/path": "package.module:object"}.'),
    ),
    (
        {"SERVERS": {"mcp": "tests.servers:server"}},
        error("E004", "SERVERS: 'mcp' is not a path.", PATH_HINT),
    ),
    (
        {"SERVERS": {"/mcp/": "tests.servers:server"}},
        error("E004", "SERVERS: '/mcp/' is not a path.", PATH_HINT),
    ),
    ({"SERVERS": {7: "tests.servers:server"}}, error("E004", "SERVERS: 7 is not a path.", PATH_HINT)),
    (
        {"SERVERS": {"/mcp": {"SESSION_TIMEOUT": 500}}},
        error("E003", "SERVERS: the entry for '/mcp' names no server object.", ENTRY_HINT),
    ),
    (
        {"SERVERS": {"/mcp": None}},
        error("E003", "SERVERS: the entry for '/mcp' names no server object.", ENTRY_HINT),
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
        {**SERVER, "COLOUR": "red"},
        error(
            "E005",
            "MCP_SESSIONS has no option 'COLOUR'.",
            'The documentation\'s page "Settings" lists the options.',
        ),
    ),
    (
        {**SERVER, 7: "red"},
        error(
            "E005", "MCP_SESSIONS has no option 7.", 'The documentation\'s page "Settings" lists the options.'
        ),
    ),
    (
        {"SERVERS": {"/mcp": {**SERVER, "MAX_BACH": 3}}},
        error("E005", "MCP_SESSIONS for /mcp has no option 'MAX_BACH'.", "Did you mean MAX_BATCH?"),
    ),
    (
        {"SERVERS": {"/mcp": {**SERVER, "MAX_BATCH": "many"}}},
        error(
            "E006",
            "MCP_SESSIONS for /mcp: MAX_BATCH is 'many'.",
            "It must be a whole number greater than 0.",
        ),
    ),
]


@pytest.mark.parametrize(("chosen", "expected"), WRONG)
def test_what_is_wrong_is_said(settings: Any, chosen: Any, expected: Error) -> None:
    settings.MCP_SESSIONS = chosen
    assert check_settings() == [expected]
    # No other check stumbles over it.
    assert check_deployment() == []


@pytest.mark.parametrize(("chosen", "expected"), WRONG)
def test_the_mount_does_not_start_on_it(settings: Any, chosen: Any, expected: Error) -> None:
    settings.MCP_SESSIONS = chosen
    with pytest.raises(ConfigurationError) as raised:
        mount(django)
    assert expected.msg in str(raised.value)


def test_all_that_is_wrong_is_said_at_once(settings: Any) -> None:
    settings.MCP_SESSIONS = {
        "SERVERS": {"mcp": {**SERVER, "PURGE_BATCH": 5}, "/b": 7},
        "MAX_BATCH": 0,
        "COLOUR": "red",
    }
    ids = [found.id for found in check_settings()]
    assert ids == [f"mcp_sessions.{number}" for number in ("E004", "E003", "E006", "E005", "E010")]


# -- each option -----------------------------------------------------------------------------


class Unhashable:
    """A generator that nothing can be remembered of."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self) -> str:
        return secrets.token_urlsafe()


@dataclass(frozen=True)
class Kind:
    """What values of some options cannot be, what they may be, and how that is said."""

    words: str
    wrong: tuple[Any, ...]
    right: tuple[Any, ...]

    def or_none(self) -> Kind:
        return Kind(f"{self.words}, or None", self.wrong[1:], (*self.right, None))


# None stands first, where it is wrong.
SECONDS = Kind(
    "a number of seconds greater than 0",
    (None, 0, -1, 0.0, True, "60", float("inf"), float("nan"), [60]),
    (1, 0.25, 10**9),
)
COUNT = Kind("a whole number greater than 0", (None, 0, -1, 1.5, 2.0, True, "3"), (1, 10**9))
SECONDS_OR_ZERO = Kind(
    "a number of seconds, 0 or greater",
    (None, -1, True, False, "60", float("inf"), float("nan"), [60]),
    (0, 0.0, 0.25, 10**9),
)
BOOLEAN = Kind("True or False", (None, 0, 1, "yes"), (True, False))
NAME = Kind("the alias of a channel layer", (None, "", 7, b"default"), ("default",))

NOTING = "tests.metrics.receivers.Noting"

FOR_PROCESS: Final = {name for name, option in DECLARED.items() if option.for_process}

OPTIONS: dict[str, Kind] = {
    "SESSION_STORE": Kind(
        '{"BACKEND": dotted path, "OPTIONS": {…}}',
        (
            *(None, "memory", 7, {}, {"BACKEND": None}, {"OPTIONS": {}}),
            *({"BACKEND": "a.B", "OPTIONS": []}, {"BACKEND": "a.B", "ALIAS": "x"}),
        ),
        ({"BACKEND": "mcp_sessions.stores.database.DatabaseSessionStore", "OPTIONS": {"alias": "default"}},),
    ),
    "SESSION_SERIALIZER": Kind(
        "the dotted path of an object with dumps and loads", (None, "", json, 7), ("json",)
    ),
    "SESSION_ROWS": BOOLEAN,
    "STORE_THREADS": COUNT,
    "STORE_TIMEOUT": SECONDS,
    "STORE_LOCK_SECONDS": SECONDS,
    "TOOL_THREADS": COUNT,
    "SESSION_ID_ENTROPY": Kind(
        "a number of bits from 128 to 661",
        (None, 0, 64, 127, 127.99, 661.1, 662, 10**6, True, "165", float("nan"), float("inf")),
        (128, 165, 256, 300.5, 661),
    ),
    "SESSION_ID_GENERATOR": Kind(
        "a dotted path, a hashable callable, or None",
        ("", 7, b"secrets.token_urlsafe", [secrets.token_urlsafe], Unhashable()),
        (None, "secrets.token_urlsafe", secrets.token_urlsafe, lambda: secrets.token_hex(20)),
    ),
    "SESSION_VALIDATION": Kind(
        '"strict" or "lenient"', (None, "", "Strict", "strictlenient", 7, ["strict"]), ("strict", "lenient")
    ),
    "ROTATION_GRACE_SECONDS": SECONDS,
    "SESSION_BINDING": Kind(
        '{"user": "reject"}, to which you may add "address" and "user_agent" ("reject", "log" or None) and, '
        'with an address, "ipv4_prefix" (1 to 32) and "ipv6_prefix" (1 to 128)',
        (
            *(None, "reject", ["address"], {"user": "log"}, {"user": None}, {"adress": "log"}),
            *({"address": "refuse"}, {"address": True}, {"user_agent": ["log"]}, {"ipv4_prefix": 24}),
            *({"address": "log", "ipv4_prefix": size} for size in (0, 33, "24", True, None)),
            {"address": "log", "ipv6_prefix": 129},
        ),
        (
            *({}, {"address": "reject"}, {"user": "reject", "address": None, "user_agent": "log"}),
            {"address": "log", "ipv4_prefix": 24, "ipv6_prefix": 56},
        ),
    ),
    "SESSION_TIMEOUT": SECONDS,
    "SESSION_REFRESH_THRESHOLD": SECONDS.or_none(),
    "IDLE_TIMEOUT": SECONDS.or_none(),
    "MAX_SESSION_LIFETIME": SECONDS.or_none(),
    "UNUSED_SECONDS": SECONDS.or_none(),
    "ANONYMOUS_HANDLE_SECONDS": SECONDS.or_none(),
    "TOUCH_SECONDS": SECONDS,
    "SESSION_CLEANUP_INTERVAL": SECONDS,
    "SESSION_GC_THRESHOLD": COUNT.or_none(),
    "KEEP_ENDED_SECONDS": SECONDS_OR_ZERO,
    "KEEP_REFUSALS_SECONDS": SECONDS_OR_ZERO,
    "MAX_REFUSALS": COUNT,
    "PURGE_BATCH": COUNT,
    "MAX_SESSIONS_PER_CLIENT": COUNT.or_none(),
    "MAX_SESSIONS": COUNT.or_none(),
    "SESSION_REPLACEMENT_POLICY": Kind(
        '"reject" or "replace_oldest"', (None, "", "oldest", ":replace_oldest"), ("reject", "replace_oldest")
    ),
    "RATE_LIMITS": Kind(
        'a dict of "session", "principal", "address" and "opening", each with a rate such as "600/min" or '
        '"600/min, burst 100", or None',
        (
            *(
                None,
                "600/min",
                [],
                {"session": 600},
                {"session": ""},
                {"session": "600/week"},
                {"user": "1/s"},
            ),
            *({"session": ["600/min"]}, {"session": "0/s"}, {"session": "5/s, burst 0"}),
        ),
        (
            {},
            {"session": None},
            {"opening": "1/s", "address": "600/minute, burst 10"},
            {"principal": "9/day"},
        ),
    ),
    "RATE_LIMITS_OUTAGE": Kind('"serve" or "refuse"', (None, "", "raise", False), ("serve", "refuse")),
    "TRUSTED_PROXIES": Kind("a whole number, 0 or greater", (None, -1, 1.0, "1", True), (0, 1, 5)),
    "MAX_CONNECTIONS_PER_SESSION": COUNT.or_none(),
    "MAX_STREAMS_PER_CLIENT": COUNT.or_none(),
    "MAX_LEFT_STREAMS": COUNT.or_none(),
    "MAX_CALLS_PER_SESSION": COUNT.or_none(),
    "EDIT_TIMEOUT": SECONDS,
    "HEARTBEAT_SECONDS": SECONDS,
    "STREAM_AFTER_SECONDS": SECONDS,
    "RETRY_MILLISECONDS": COUNT,
    "RETRY_FIRST": BOOLEAN,
    "PRIMING_EVENTS": BOOLEAN,
    "CLIENT_REPLY_SECONDS": SECONDS,
    "MAX_REQUESTS_TO_CLIENT": COUNT.or_none(),
    "MAX_CLIENT_REPLY_BYTES": COUNT,
    "CHANNEL_LAYER": NAME.or_none(),
    "POLL_SECONDS": SECONDS,
    "WORKER_TIMEOUT": SECONDS,
    "EVENT_SECONDS": SECONDS,
    "MAX_EVENTS": COUNT,
    "MAX_EVENT_BYTES": COUNT,
    "MAX_PENDING": COUNT.or_none(),
    "MAX_PENDING_BYTES": COUNT.or_none(),
    "STALL_SECONDS": SECONDS,
    "BUFFER_BYTES": COUNT,
    "QUEUE_BYTES": COUNT,
    "SESSION_WARNING_SECONDS": SECONDS.or_none(),
    "DRAIN_SECONDS": SECONDS,
    "SESSION_METRICS": Kind(
        'True or False, a dotted path, {"BACKEND": dotted path, "OPTIONS": {…}}, or a list of these, or None',
        (
            *("", 7, 1.5, {}, {"BACKEND": 7}, {"BACKEND": "a.B", "OPTIONS": []}, {"statsd": True}),
            *([7], [""], [False], [None], {NOTING}),
        ),
        (
            *(None, True, False, NOTING, {"BACKEND": NOTING, "OPTIONS": {}}),
            *([], (NOTING, True), [{"BACKEND": NOTING}]),
        ),
    ),
    "MAX_HEADER_BYTES": Kind(
        "a whole number, 4096 or greater, so that the headers of clients and proxies fit",
        (None, 0, 4095, 4096.0, "4096", True),
        (4096, 10**6),
    ),
    "MAX_BODY_BYTES": COUNT,
    "BODY_SECONDS": SECONDS,
    "MAX_DEPTH": COUNT,
    "MAX_BATCH": COUNT,
    "MAX_CLIENT_BYTES": COUNT,
    "MAX_ID_LENGTH": Kind(
        "a whole number, 64 or greater, so that every method fits",
        (None, 0, 63, 64.0, "64", True),
        (64, 1000),
    ),
    "MAX_SUBSCRIPTIONS": COUNT.or_none(),
    "MAX_URI_LENGTH": COUNT,
    "MAX_DATA_BYTES": COUNT,
    "ALLOWED_ORIGINS": Kind(
        'a list of origins, such as "https://app.example.com" (no path), or "*"',
        (None, "*", "https://app.example.com", [7], {"*"}, ["https://app.example.com/"], ["app.example.com"]),
        ((), ["*"], ("https://app.example.com", "http://127.0.0.1:8000"), ["null"]),
    ),
    "SESSION_LOGGER": Kind(
        "the name of a logger; LOGGING says where its lines go",
        (None, "", 7, logging.getLogger("shop"), {"class": "logging.FileHandler"}),
        ("shop.sessions", "mcp_sessions.sessions"),
    ),
    "SESSION_DEBUG": BOOLEAN,
    "AUTHENTICATORS": Kind(
        'a list of dotted paths, or of {"BACKEND": dotted path, "OPTIONS": {…}}',
        ("a.B", [None], [{"OPTIONS": {}}]),
        ([], [AUTHENTICATOR, {"BACKEND": AUTHENTICATOR, "OPTIONS": {}}]),
    ),
    "REQUIRES": Kind(
        '{"tools", "resources" or "prompts": {pattern: {"scopes": […], "permissions": ["app.codename"]}}}',
        (
            *(None, [], {"tool": {}}, {"tools": ["delete_*"]}, {"tools": {"a": {}}}, {"tools": {7: {}}}),
            *({"tools": {"a": {"scope": ["b"]}}}, {"tools": {"a": {"scopes": "b"}}}),
            {"prompts": {"a": {"permissions": ["delete_order"]}}},
        ),
        ({}, {"tools": {"a_*": {"scopes": ["b"]}}, "resources": {"a://*": {"permissions": ["shop.b"]}}}),
    ),
    "ONCE": Kind(
        '{pattern of names: {"key": an argument or several, "within": seconds, "rerun_if_lost": bool}}, '
        "each with a key or a time",
        (
            *(
                None,
                [],
                {"pay": {}},
                {"pay": "order"},
                {"": {"key": "order"}},
                {"pay": {"rerun_if_lost": True}},
            ),
            *({"pay": {"key": []}}, {"pay": {"key": ""}}, {"pay": {"key": [7]}}, {"pay": {"within": 0}}),
            *({"pay": {"key": "order", "rerun": True}}, {"pay": {"key": "order", "rerun_if_lost": 1}}),
        ),
        ({}, {"pay_*": {"key": "order"}, "book": {"key": ["a", "b"], "within": 60, "rerun_if_lost": True}}),
    ),
    "ONCE_SECONDS": SECONDS,
    "MAX_ONCE_CALLS": COUNT.or_none(),
    "MAX_ONCE_BYTES": COUNT,
    "MAY_WATCH": Kind("a dotted path or a function, or None", ("", 7, ["a.b"]), (None, "a.b", print)),
    "REQUIRED_SCOPES": Kind("a list of scopes", ("read", ["a b"], ['"'], [""]), ([], ["read", "mcp:call"])),
    "AUTHORIZATION_SERVERS": Kind(
        "a list of URLs",
        ("https://a.example", ["a.example"], ["https://"]),
        ([], ["https://a.example", "http://127.0.0.1:8000/o"]),
    ),
    "RESOURCE_URL": Kind(
        "a URL without query and fragment, or None",
        ("/mcp", "https://a.example/mcp?x=1", "https://a.example/mcp#x"),
        (None, "https://a.example/mcp"),
    ),
    "STRICT_ACCEPT": BOOLEAN,
    "SSE_PATHS": Kind(
        "two different paths, each with a slash at its beginning and none at its end, or an empty list",
        (None, "/sse", ["/sse"], ["/sse", "/sse"], ["/sse/", "/messages"], ["sse", "m"], ["/a", "/b", "/c"]),
        ([], ["/sse", "/messages"], ("/old/sse", "/old/messages")),
    ),
    "REVISIONS": Kind(
        'a list of "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", or of some of these',
        ((), [], None, True, "2026-07-28", {"2026-07-28"}, ["2026-07-28", "2025-11-24"], ["all"], [None]),
        (["2026-07-28"], ("2025-11-25", "2025-06-18")),
    ),
    "POST_THROUGH_DJANGO": BOOLEAN,
}


def errors() -> list[CheckMessage]:
    return [found for found in check_settings() if isinstance(found, Error)]


def test_every_option_is_here() -> None:
    assert set(OPTIONS) == set(DECLARED) - {"SERVER", "SERVERS"}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_that_cannot_be_is_an_error(settings: Any, name: str) -> None:
    for value in (*OPTIONS[name].wrong, object()):
        settings.MCP_SESSIONS = {**SERVER, name: value}
        hint = f"It must be {OPTIONS[name].words}."
        assert check_settings() == [error("E006", f"MCP_SESSIONS: {name} is {value!r}.", hint)]


@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_that_can_be_is_none(settings: Any, name: str) -> None:
    for value in (*OPTIONS[name].right, DECLARED[name].default):
        settings.MCP_SESSIONS = {**SERVER, name: value}
        assert errors() == []


# -- paths -----------------------------------------------------------------------------------

TWICE_HINT = "Give each endpoint paths of its own."


def test_a_path_of_http_sse_is_one_endpoints(settings: Any) -> None:
    old = {**SERVER, "SSE_PATHS": ["/sse", "/messages"]}
    settings.MCP_SESSIONS = {"SERVERS": {"/mcp": old}}
    assert errors() == []
    settings.MCP_SESSIONS = {"SERVERS": {"/mcp": old, "/messages": "tests.servers:server"}}
    message = "SSE_PATHS of /mcp: /messages is a path of /messages already."
    assert errors() == [error("E033", message, TWICE_HINT)]
    # Set for all endpoints, it would be each one's.
    settings.MCP_SESSIONS = {"SERVERS": {"/a": SERVER, "/b": SERVER}, "SSE_PATHS": ["/sse", "/messages"]}
    assert errors() == [
        error("E033", f"SSE_PATHS of /b: {path} is a path of /a (SSE_PATHS) already.", TWICE_HINT)
        for path in ("/sse", "/messages")
    ]


# -- endpoints -------------------------------------------------------------------------------


def test_an_endpoint_may_differ(settings: Any) -> None:
    settings.MCP_SESSIONS = {
        "SESSION_TIMEOUT": 60,
        "SERVER": "a:b",
        "SERVERS": {"/long": {"SERVER": "c:d", "SESSION_TIMEOUT": 600}, "/plain": "e:f"},
    }
    assert served_paths() == {"/mcp": "a:b", "/long": "c:d", "/plain": "e:f"}
    assert [AppSettings(path).SESSION_TIMEOUT for path in ("/long", "/plain", "/mcp")] == [600, 60, 60]


@pytest.mark.parametrize("name", sorted(FOR_PROCESS))
def test_an_endpoint_has_no_say_in_what_is_the_processes(settings: Any, name: str) -> None:
    entry = {**SERVER, name: getattr(AppSettings(), name)}
    settings.MCP_SESSIONS = {"SERVERS": {"/mcp": entry}}
    message = f"MCP_SESSIONS for /mcp: {name} holds for the whole process, not for one endpoint."
    assert check_settings() == [error("E010", message, OUTSIDE_HINT)]


@pytest.mark.parametrize("name", sorted(DECLARED.keys() - FOR_PROCESS - {"SERVER"}))
def test_an_endpoint_may_have_every_other_option_for_itself(settings: Any, name: str) -> None:
    for value in OPTIONS[name].right:
        settings.ROOT_URLCONF = "tests.urls"
        settings.MCP_SESSIONS = {"SERVERS": {"/mcp": {**SERVER, name: value}}}
        assert errors() == []
        assert getattr(AppSettings("/mcp"), name) is value


def options_read() -> Iterator[tuple[str, bool]]:
    """Each option that the code reads, and whether of the whole process."""
    for path in Path(mcp_sessions.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in DECLARED:
                yield node.attr, isinstance(node.value, ast.Name) and node.value.id == "app_settings"


def test_what_is_the_processes_is_what_the_code_never_reads_of_an_endpoint() -> None:
    of_process = {name for name, is_of_process in options_read() if is_of_process}
    of_endpoint = {name for name, is_of_process in options_read() if not is_of_process}
    assert of_process - of_endpoint == FOR_PROCESS | {"SERVER"}


SERVER_HINT = 'Name it as "package.module:object"; the module must be importable.'


def test_a_server_that_cannot_be_loaded(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.servers:nothing"}
    message = (
        "MCP_SESSIONS: the server object 'tests.servers:nothing' cannot be loaded: "
        "module 'tests.servers' has no attribute 'nothing'"
    )
    assert check_settings() == [error("E007", message, SERVER_HINT, "/mcp")]


def test_an_object_that_is_no_server(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.servers:DEADLINE"}
    message = (
        f"MCP_SESSIONS: {DEADLINE!r} is no server object. Name an MCPServer or Server of the official SDK, "
        "or a FastMCP server."
    )
    assert check_settings() == [error("E007", message, SERVER_HINT, "/mcp")]


def test_posts_through_django_need_its_urls(settings: Any) -> None:
    chosen: dict[str, Any] = {**SERVER, "POST_THROUGH_DJANGO": True}
    settings.MCP_SESSIONS = chosen
    settings.ROOT_URLCONF = "tests.urls"
    assert check_settings() == []
    chosen["SSE_PATHS"] = ["/old-sse", "/old-messages"]
    settings.MCP_SESSIONS = {"SERVERS": {"/nowhere": chosen}}
    hint = 'Add path("", include("mcp_sessions.urls")) to the project\'s urlpatterns.'
    assert check_settings() == [
        error(
            "E009", f"POST_THROUGH_DJANGO is on for /nowhere, and Django has no URL {url}.", hint, "/nowhere"
        )
        for url in ("/nowhere", "/old-messages")
    ]


def always_the_same() -> str:
    return "A" * 32


def too_short() -> str:
    return secrets.token_hex(8)


GENERATOR_HINT = (
    "It is a callable without arguments, or the dotted path of one, and returns 22 to 128 of "
    "A-Z, a-z, 0-9, - and _, of which 128 bits are chance: secrets.token_urlsafe, for instance."
)


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ("tests.nowhere.generator", "SESSION_ID_GENERATOR: No module named 'tests.nowhere'"),
        ("tests.test_checks.SERVER", "SESSION_ID_GENERATOR: tests.test_checks.SERVER is not callable."),
        (too_short, "SESSION_ID_GENERATOR made 16 characters; an id has 22 to 128."),
        (secrets.randbits, "SESSION_ID_GENERATOR raised TypeError."),
        (always_the_same, "SESSION_ID_GENERATOR made the same id twice."),
    ],
)
@pytest.mark.parametrize("validation", ["strict", "lenient"])
def test_a_generator_that_makes_no_ids(settings: Any, generator: Any, message: str, validation: str) -> None:
    options = {"SESSION_ID_GENERATOR": generator, "SESSION_VALIDATION": validation}
    settings.MCP_SESSIONS = {"SERVERS": {"/plain": SERVER["SERVER"], "/own": {**SERVER, **options}}}
    assert check_settings() == [error("E011", message, GENERATOR_HINT, "/own")]


# -- what server objects bring ---------------------------------------------------------------

AUTH_HINT = "mcp_sessions.security.authentication has the authenticators."


def test_an_authenticator_that_cannot_be_made(settings: Any) -> None:
    settings.MCP_SESSIONS = {**SERVER, "AUTHENTICATORS": ["tests.nowhere.Authenticator"]}
    message = "AUTHENTICATORS: tests.nowhere.Authenticator: No module named 'tests.nowhere'"
    assert check_settings() == [error("E030", message, AUTH_HINT, "/mcp")]


def test_auth_of_a_server_object_that_cannot_be_honoured(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.guarded:walled"}
    message = (
        "The auth of the server at /mcp: Walled has ASGI middleware of its own (get_middleware), "
        "and the endpoint does not run that. Set AUTHENTICATORS."
    )
    assert check_settings() == [error("E030", message, AUTH_HINT, "/mcp")]


def test_auth_of_a_server_object_that_the_settings_replace(settings: Any) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.guarded:sdk"}
    assert check_settings() == []
    settings.MCP_SESSIONS = {"SERVER": "tests.guarded:sdk", "AUTHENTICATORS": [AUTHENTICATOR]}
    assert check_settings() == [
        Info(
            "The server object brings auth, and AUTHENTICATORS replaces it.",
            hint="Name the verifier in AUTHENTICATORS too, or leave AUTHENTICATORS out.",
            obj="/mcp",
            id="mcp_sessions.I001",
        )
    ]


def test_routes_of_a_server_object_need_the_mount(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MCP_SESSIONS = {"SERVER": "tests.guarded:routed"}
    assert check_settings() == []
    monkeypatch.setattr(serving, "mounts", set())
    message = (
        "The server object has routes (/health) that only the mount serves: "
        "tests.test_checks.django has no mount, and no URL leads to one."
    )
    hint = "In asgi.py, write application = mount(get_asgi_application())."
    assert error("E032", message, hint, "/mcp") in check_settings()


def test_two_server_objects_with_a_route_at_one_path(settings: Any) -> None:
    one = dict.fromkeys(("/one", "/two"), "tests.guarded:routed")
    settings.MCP_SESSIONS = {"SERVERS": one}
    assert check_settings() == []
    settings.MCP_SESSIONS = {"SERVERS": {**one, "/three": "tests.guarded:again"}}
    message = "The servers at /one and /three both have a route at /health."
    assert check_settings() == [error("E031", message, "Serve one of them elsewhere.")]


# -- the store -------------------------------------------------------------------------------


class GuideStore:
    """As in the guide's chapter "Redis Storage"."""

    def store(self, session_id: str, session_data: Any) -> None: ...

    def retrieve(self, session_id: str) -> Any: ...

    def delete(self, session_id: str) -> None: ...

    def cleanup_expired(self) -> None: ...


class BasedGuideStore(GuideStore, BaseSessionStore):
    """The same by one who has read that it must be a BaseSessionStore."""


class NearlyStore(DatabaseSessionStore):
    purge = BaseSessionStore.purge
    end = BaseSessionStore.end


class FailingStore(DatabaseSessionStore):
    def __init__(self) -> None:
        raise RuntimeError("no room")


class UnsharedStore(DatabaseSessionStore):
    shared_by_processes = False


def check_of_store(settings: Any, backend: str, **options: Any) -> list[CheckMessage]:
    settings.MCP_SESSIONS = {**SERVER, "SESSION_STORE": {"BACKEND": backend, "OPTIONS": options}}
    return check_settings()


STORE_HINT = "BACKEND is the dotted path of a BaseSessionStore, OPTIONS are the arguments of its constructor."


@pytest.mark.parametrize(
    ("backend", "options", "why"),
    [
        ("tests.nowhere.Store", {}, "No module named 'tests.nowhere'"),
        ("store", {}, "store doesn't look like a module path"),
        ("tests.test_checks.SERVER", {}, "'dict' object is not callable"),
        ("tests.test_checks.Unhashable", {}, "tests.test_checks.Unhashable is not a BaseSessionStore."),
        ("tests.test_checks.FailingStore", {}, "no room"),
        (
            "tests.test_checks.UnsharedStore",
            {"colour": "red"},
            "DatabaseSessionStore.__init__() got an unexpected keyword argument 'colour'",
        ),
    ],
)
def test_a_store_that_cannot_be_made(settings: Any, backend: str, options: Any, why: str) -> None:
    expected = error("E008", f"SESSION_STORE cannot be made: {why}", STORE_HINT)
    assert check_of_store(settings, backend, **options) == [expected]


@pytest.mark.parametrize("name", ["GuideStore", "BasedGuideStore"])
def test_a_store_with_the_guides_four_verbs_is_told_how_they_map(settings: Any, name: str) -> None:
    assert check_of_store(settings, f"tests.test_checks.{name}") == [
        error(
            "E013",
            f"SESSION_STORE: tests.test_checks.{name} has the guide's methods, "
            "which can keep neither streams nor limits.",
            "Make it a BaseSessionStore: store becomes create, and lease and release for the data; "
            "retrieve becomes load; delete becomes end; cleanup_expired becomes expire and purge. "
            "mcp_sessions.stores.memory.StateSessionStore has all of these, and leaves one method to write.",
        )
    ]


def test_a_store_that_leaves_verbs_out_is_told_which(settings: Any) -> None:
    assert check_of_store(settings, "tests.test_checks.NearlyStore") == [
        error(
            "E014",
            "SESSION_STORE: tests.test_checks.NearlyStore does not define end, purge.",
            "mcp_sessions.stores.base describes each method. mcp_sessions.stores.memory.StateSessionStore "
            "has all of them, and leaves one method to write.",
        )
    ]


@pytest.mark.parametrize(
    "backend", ["tests.test_checks.UnsharedStore", "mcp_sessions.stores.memory.InMemorySessionStore"]
)
def test_a_store_that_processes_do_not_share(settings: Any, backend: str) -> None:
    assert check_of_store(settings, backend) == [
        warning(
            "W002",
            f"SESSION_STORE: {backend} is not shared: each process has sessions of its own.",
            "Run one server process, or choose a store that several share: the database's, or Redis.",
        )
    ]


def test_a_database_that_is_not_there(settings: Any) -> None:
    backend = "mcp_sessions.stores.database.DatabaseSessionStore"
    assert check_of_store(settings, backend, alias="nowhere") == [
        error(
            "E008", "SESSION_STORE: there is no database 'nowhere'.", "Name one of DATABASES in its OPTIONS."
        )
    ]


@pytest.fixture
def deferred_sqlite(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not the setting as a whole: connections are made from it.
    deferred = {**settings.DATABASES["default"], "ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}}
    monkeypatch.setitem(settings.DATABASES, "default", deferred)


SQLITE = warning(
    "W001",
    "The SQLite database 'default' begins its transactions as readers.",
    'Set OPTIONS["transaction_mode"] to "IMMEDIATE": otherwise concurrent requests fail '
    'with "database is locked".',
)


@pytest.mark.usefixtures("deferred_sqlite")
def test_sqlite_without_immediate_transactions(settings: Any) -> None:
    settings.MCP_SESSIONS = SERVER
    assert check_settings() == [SQLITE]


@pytest.mark.usefixtures("deferred_sqlite")
def test_sqlite_matters_where_sessions_or_rows_about_them_are_in_it(settings: Any) -> None:
    memory = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}
    settings.SILENCED_SYSTEM_CHECKS = ["mcp_sessions.W002"]
    settings.MCP_SESSIONS = {**SERVER, "SESSION_STORE": memory}
    assert SQLITE in check_settings()
    settings.MCP_SESSIONS = {**SERVER, "SESSION_STORE": memory, "SESSION_ROWS": False}
    assert SQLITE not in check_settings()


class HalfASerializer:
    @staticmethod
    def dumps(data: Any) -> str:
        return json.dumps(data)


@pytest.mark.parametrize(
    ("serializer", "message"),
    [
        ("tests.nowhere.Serializer", "SESSION_SERIALIZER: No module named 'tests.nowhere'"),
        ("nowhere", "SESSION_SERIALIZER: No module named 'nowhere'"),
        ("secrets", "SESSION_SERIALIZER: secrets has no dumps()."),
        (
            "tests.test_checks.HalfASerializer",
            "SESSION_SERIALIZER: tests.test_checks.HalfASerializer has no loads().",
        ),
    ],
)
def test_a_serializer_needs_dumps_and_loads(settings: Any, serializer: str, message: str) -> None:
    settings.MCP_SESSIONS = {**SERVER, "SESSION_SERIALIZER": serializer}
    hint = "Name a module, a class or an object with dumps(data) and loads(text), json for instance."
    assert check_settings() == [error("E012", message, hint)]


def test_a_channel_layer_that_is_not_there(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"bells": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    for alias in ("bells", "default", None):
        settings.MCP_SESSIONS = {**SERVER, "CHANNEL_LAYER": alias}
        assert check_settings() == []
    settings.MCP_SESSIONS = {**SERVER, "CHANNEL_LAYER": "drums"}
    assert check_settings() == [
        error(
            "E015",
            "CHANNEL_LAYER: there is no channel layer 'drums'.",
            "Name one of CHANNEL_LAYERS, or None: then processes only poll.",
        )
    ]


# -- metrics ---------------------------------------------------------------------------------

METRICS_HINT = "BACKEND is the dotted path of a SessionMetrics, OPTIONS are the arguments of its constructor."
PROMETHEUS = "mcp_sessions.metrics.prometheus.PrometheusMetrics"


def check_of_metrics(settings: Any, *entries: Any) -> list[CheckMessage]:
    settings.MCP_SESSIONS = {**SERVER, "SESSION_METRICS": entries}
    return check_settings()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("tests.nowhere.Metrics", "No module named 'tests.nowhere'"),
        ("statsd", "statsd doesn't look like a module path"),
        ("tests.metrics.receivers.NoMetrics", "tests.metrics.receivers.NoMetrics is not a SessionMetrics."),
        ("tests.metrics.receivers.Refusing", "no metrics today"),
        (
            {"BACKEND": "tests.metrics.receivers.Failing", "OPTIONS": {"colour": "red"}},
            "Failing() takes no arguments",
        ),
        (
            {"BACKEND": "mcp_sessions.metrics.statsd.StatsDMetrics", "OPTIONS": {"hots": "127.0.0.1"}},
            "DogStatsd.__init__() got an unexpected keyword argument 'hots'",
        ),
        (
            {"BACKEND": PROMETHEUS, "OPTIONS": {"buckets": [2, 1], "registry": CollectorRegistry()}},
            "Buckets not in sorted order",
        ),
    ],
)
def test_metrics_that_cannot_be_made(settings: Any, entry: Any, why: str) -> None:
    backend = entry["BACKEND"] if isinstance(entry, dict) else entry
    expected = error("E016", f"{backend} of SESSION_METRICS cannot be made: {why}", METRICS_HINT)
    assert check_of_metrics(settings, PROMETHEUS, entry) == [expected]
    # What was made before it is not in the way of a second look.
    with pytest.raises(ConfigurationError, match=re.escape(str(expected.msg))):
        mount(django)


def test_metrics_that_are_named_twice(settings: Any) -> None:
    assert check_of_metrics(settings, NOTING, {"BACKEND": NOTING, "OPTIONS": {}}) == []
    assert check_of_metrics(settings, NOTING, NOTING) == [
        error(
            "E018",
            f"SESSION_METRICS names {NOTING} twice with the same OPTIONS.",
            "Everything would be counted twice: name it once.",
        )
    ]


@pytest.mark.parametrize(
    ("entry", "library", "extra"),
    [
        (True, "datadog", "statsd"),
        (PROMETHEUS, "prometheus_client", "prometheus"),
        ("mcp_sessions.metrics.opentelemetry.OpenTelemetryMetrics", "opentelemetry", "opentelemetry"),
    ],
)
def test_metrics_whose_library_is_not_there(
    settings: Any, monkeypatch: pytest.MonkeyPatch, entry: Any, library: str, extra: str
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"mcp_sessions.metrics.{extra}", raising=False)
    assert check_of_metrics(settings, entry) == [
        error(
            "E017",
            f"SESSION_METRICS needs {library}, which is not there.",
            f'Install the app with its extra: pip install ".[{extra}]", where its source is.',
        )
    ]


def test_prometheus_needs_a_directory_where_there_are_several_processes(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert check_of_metrics(settings, PROMETHEUS) == [
        warning(
            "W009",
            f"SESSION_METRICS: {PROMETHEUS} counts in each process by itself, "
            "so a scrape shows only one of them.",
            "Set the environment variable PROMETHEUS_MULTIPROC_DIR to an empty directory that the "
            "processes share, or run one process and silence this.",
        )
    ]
    mount(django)
    missing = tmp_path / "missing"
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(missing))
    why = f"PROMETHEUS_MULTIPROC_DIR is no directory: {missing}"
    assert check_of_metrics(settings, NOTING, PROMETHEUS) == [
        error("E016", f"{PROMETHEUS} of SESSION_METRICS cannot be made: {why}", METRICS_HINT)
    ]
    missing.mkdir()
    assert check_of_metrics(settings, PROMETHEUS, NOTING) == []


def test_dates_have_a_zone(settings: Any) -> None:
    settings.USE_TZ = False
    expected = error(
        "E019",
        "Sessions need dates that know their time zone: USE_TZ is off.",
        "Set USE_TZ = True, Django's default.",
    )
    assert check_settings() == [expected]
    with pytest.raises(ConfigurationError, match="USE_TZ is off"):
        mount(django)


# -- authenticators ----------------------------------------------------------------------------

PACKAGE = "mcp_sessions.security.authentication"
JWT = {"BACKEND": f"{PACKAGE}.JSONWebTokens", "OPTIONS": {"issuer": "https://login.example"}}


@pytest.mark.parametrize("hosts", [["*"], ["testserver", ".example.com"]])
def test_tokens_for_a_url_that_clients_choose(settings: Any, hosts: list[str]) -> None:
    settings.ALLOWED_HOSTS = hosts
    settings.MCP_SESSIONS = {**SERVER, "AUTHENTICATORS": [JWT]}
    expected = error(
        "E021",
        "Tokens must be issued for the endpoint's URL, and ALLOWED_HOSTS lets clients choose it: "
        "a token that was issued for another server is accepted together with that one's name.",
        "Set RESOURCE_URL to the endpoint's public URL, or name each host in ALLOWED_HOSTS.",
        "/mcp",
    )
    assert check_settings() == [expected]
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "RESOURCE_URL": "https://shop.example.com/mcp"}
    assert check_settings() == []
    named = {
        "BACKEND": JWT["BACKEND"],
        "OPTIONS": {"issuer": "https://login.example", "audience": "api://shop"},
    }
    settings.MCP_SESSIONS = {**SERVER, "AUTHENTICATORS": [named]}
    assert check_settings() == []


# -- options that make others useless ---------------------------------------------------------

THRESHOLD = warning(
    "W004",
    "SESSION_REFRESH_THRESHOLD = 601 is more than SESSION_TIMEOUT = 600: "
    "every request moves a session's end.",
    "Make it less, or None if that is meant.",
    "/mcp",
)
LIFETIME = warning(
    "W005",
    "SESSION_TIMEOUT = 600 is more than MAX_SESSION_LIFETIME = 599: no request ever moves a session's end.",
    "Make it less, or the same if that is meant.",
    "/mcp",
)
IDLE_HINT = "Make it less, or None if that is meant."
IDLE_LIFETIME = warning(
    "W006",
    "IDLE_TIMEOUT = 600.5 is more than MAX_SESSION_LIFETIME = 600: no session ever ends for being idle.",
    IDLE_HINT,
    "/mcp",
)
IDLE = warning(
    "W006",
    "IDLE_TIMEOUT = 600.5 is more than SESSION_TIMEOUT = 600: no session ever ends for being idle.",
    IDLE_HINT,
    "/mcp",
)
WARNED = warning(
    "W007",
    "SESSION_WARNING_SECONDS = 600 is at least SESSION_TIMEOUT = 600: "
    "clients are warned whenever a session's end has moved.",
    "Make it less, or None for no warnings.",
    "/mcp",
)
UNHEARD = warning(
    "W008",
    "SESSION_WARNING_SECONDS = 60 is more than SESSION_REFRESH_THRESHOLD = 59: "
    "a client that answers the warning by a request does not move its session's end.",
    "Make it at most SESSION_REFRESH_THRESHOLD.",
    "/mcp",
)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"SESSION_REFRESH_THRESHOLD": 601}, [THRESHOLD]),
        ({"SESSION_REFRESH_THRESHOLD": 600}, []),
        ({"MAX_SESSION_LIFETIME": 599}, [LIFETIME]),
        ({"MAX_SESSION_LIFETIME": 600}, []),
        ({"IDLE_TIMEOUT": 600.5, "MAX_SESSION_LIFETIME": 600}, [IDLE_LIFETIME, IDLE]),
        ({"IDLE_TIMEOUT": 600.5}, [IDLE]),
        ({"IDLE_TIMEOUT": 600, "MAX_SESSION_LIFETIME": 600}, []),
        ({"SESSION_WARNING_SECONDS": 600}, [WARNED]),
        ({"SESSION_WARNING_SECONDS": 599}, []),
        ({"SESSION_WARNING_SECONDS": None, "SESSION_REFRESH_THRESHOLD": 59}, []),
        ({"SESSION_REFRESH_THRESHOLD": 59}, [UNHEARD]),
        ({"SESSION_REFRESH_THRESHOLD": 60}, []),
    ],
)
def test_options_that_make_others_useless(settings: Any, options: Any, expected: list[Warning]) -> None:
    settings.MCP_SESSIONS = {**SERVER, "SESSION_TIMEOUT": 600, **options}
    assert check_settings() == expected


def test_of_each_endpoint_what_holds_there_is_compared(settings: Any) -> None:
    settings.MCP_SESSIONS = {
        "SESSION_TIMEOUT": 600,
        "MAX_SESSION_LIFETIME": 599,
        "SERVERS": {
            "/mcp": "tests.servers:server",
            "/brief": {**SERVER, "SESSION_TIMEOUT": 300},
            "/endless": {**SERVER, "MAX_SESSION_LIFETIME": None},
        },
    }
    assert check_settings() == [LIFETIME]


# -- deployment ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sign", "value"),
    [
        ("SECURE_PROXY_SSL_HEADER", ("HTTP_X_FORWARDED_PROTO", "https")),
        ("USE_X_FORWARDED_HOST", True),
        ("USE_X_FORWARDED_PORT", True),
    ],
)
def test_a_proxy_that_is_not_counted(settings: Any, sign: str, value: Any) -> None:
    setattr(settings, sign, value)
    settings.MCP_SESSIONS = {
        "SERVERS": {
            "/mcp": "tests.servers:server",
            "/counted": {**SERVER, "TRUSTED_PROXIES": 1},
            "/unlimited": {**SERVER, "MAX_SESSIONS_PER_CLIENT": None, "RATE_LIMITS": {}},
        }
    }
    assert check_deployment() == [
        warning(
            "W003",
            f"{sign} speaks of a proxy, and TRUSTED_PROXIES is 0: all anonymous clients may have "
            "one address, and share its limits (MAX_SESSIONS_PER_CLIENT, "
            'RATE_LIMITS["address"], RATE_LIMITS["opening"]).',
            "Set TRUSTED_PROXIES to the number of proxies that every request comes through, "
            "or these limits to None.",
            "/mcp",
        )
    ]
    # A developer's own machine has no proxy.
    assert check_settings() == []


def test_a_binding_to_an_address_that_is_the_proxys(settings: Any) -> None:
    settings.USE_X_FORWARDED_HOST = True
    unlimited = {"MAX_SESSIONS_PER_CLIENT": None, "RATE_LIMITS": {}}
    bound = {**SERVER, **unlimited, "SESSION_BINDING": {"address": "log"}}
    settings.MCP_SESSIONS = {"SERVERS": {"/mcp": bound, "/counted": {**bound, "TRUSTED_PROXIES": 1}}}
    assert check_deployment() == [
        warning(
            "W015",
            "USE_X_FORWARDED_HOST speaks of a proxy, and TRUSTED_PROXIES is 0: every session is bound to the "
            "proxy's address, which all clients have.",
            "Set TRUSTED_PROXIES to the number of proxies that every request comes through, "
            'or leave "address" out of SESSION_BINDING.',
            "/mcp",
        )
    ]


def test_without_a_sign_of_a_proxy_nothing_is_said(settings: Any) -> None:
    settings.MCP_SESSIONS = SERVER
    assert check_deployment() == []


def test_nothing_is_wrong_with_the_tests_own_settings(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "AUTHENTICATORS": [ANONYMOUS]}
    assert run_checks(tags=["mcp_sessions"], include_deployment_checks=True) == []


ANONYMOUS = "mcp_sessions.security.authentication.AllowAnonymous"
LOGIN = "mcp_sessions.security.authentication.DjangoSessions"
UNAUTHENTICATED = warning(
    "W020",
    "Anybody may call the endpoint: nothing authenticates its clients.",
    f'Name authenticators in AUTHENTICATORS; where anonymous access is meant, "{ANONYMOUS}".',
    "/mcp",
)
IN_CLEAR = warning(
    "W021",
    "Nothing says that requests come by https: credentials may cross the network in clear.",
    "Set SECURE_PROXY_SSL_HEADER if a proxy in front does TLS, else SECURE_SSL_REDIRECT.",
)
SHOWN = warning(
    "W022",
    "DEBUG is on: Django's error pages show the headers of requests, and so tokens.",
    "Set DEBUG = False.",
)


@pytest.mark.parametrize(
    ("authenticators", "more", "expected"),
    [
        ([], {}, [UNAUTHENTICATED]),
        ([ANONYMOUS], {}, []),
        ([LOGIN], {}, [IN_CLEAR]),
        ([LOGIN, ANONYMOUS], {"DEBUG": True}, [IN_CLEAR, SHOWN]),
        ([LOGIN], {"SECURE_SSL_REDIRECT": True}, []),
        ([LOGIN], {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}, []),
    ],
)
def test_what_is_unsafe_in_production(
    settings: Any, authenticators: list[str], more: dict[str, Any], expected: list[Any]
) -> None:
    for name, value in more.items():
        setattr(settings, name, value)
    settings.MCP_SESSIONS = {**SERVER, "AUTHENTICATORS": authenticators}
    assert check_exposure() == expected


@pytest.mark.parametrize(
    "named", ["shop.nothing.Login", "tests.servers.server", {"BACKEND": LOGIN, "OPTIONS": {"a": 1}}]
)
def test_the_mount_starts_without_no_authenticator(settings: Any, named: Any) -> None:
    """Once, for the mount too: it would answer every request by an error."""
    settings.MCP_SESSIONS = {**SERVER, "AUTHENTICATORS": [named]}
    for found in (check_settings(), check_configuration()):
        assert [(each.id, each.obj) for each in found] == [("mcp_sessions.E030", "/mcp")]
    assert check_exposure() == []


CHECK = """
import json, sys
import django
from django.conf import settings
from django.core.checks import run_checks

settings.configure(**json.loads(sys.argv[1]))
django.setup()
print(*(found.id for found in run_checks(tags=["mcp_sessions"], include_deployment_checks=True)))
"""


@pytest.mark.parametrize(
    ("backend", "options", "ids"),
    [
        ("database.DatabaseSessionStore", {}, ""),
        ("memory.InMemorySessionStore", {}, "mcp_sessions.W002"),
        ("redis.RedisSessionStore", {"url": "redis://127.0.0.1:{port}/0"}, ""),
    ],
)
def test_a_check_opens_no_connection(backend: str, options: dict[str, str], ids: str, tmp_path: Path) -> None:
    """A project is checked while its image is built, where no database answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        database = {"ENGINE": "django.db.backends.postgresql", "HOST": "127.0.0.1", "NAME": "x", "USER": "x"}
        store = {
            "BACKEND": f"mcp_sessions.stores.{backend}",
            "OPTIONS": {name: value.format(port=port) for name, value in options.items()},
        }
        configured = {
            "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth", "mcp_sessions"],
            "DATABASES": {"default": {**database, "PORT": port}},
            "MCP_SESSIONS": {**SERVER, "SESSION_STORE": store, "AUTHENTICATORS": [ANONYMOUS]},
        }
        script = tmp_path / "check.py"
        script.write_text(CHECK)
        done = forking.run([str(script), json.dumps(configured)], env=environment({}), timeout=120)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert (done.returncode, done.stdout.strip()) == (0, ids), done.stderr
