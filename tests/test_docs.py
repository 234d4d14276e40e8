"""What the documentation shows is run, and what it lists is what there is."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
import runpy
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

import pytest
from django.apps import apps
from django.conf import global_settings
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.core.exceptions import PermissionDenied
from django.dispatch import Signal
from django.test import RequestFactory
from django.test.utils import isolate_apps
from django.utils.module_loading import import_string
from mcp.server.mcpserver import MCPServer

import mcp_sessions
from mcp_sessions import exceptions, inspect_session, load_session, signals, testing
from mcp_sessions.checks import check_configuration
from mcp_sessions.conf import GROUPS, OPTIONS, AppSettings, problems
from mcp_sessions.conf.kinds import RATE_SCOPES
from mcp_sessions.conf.option import Option
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.delivery import Closing
from mcp_sessions.exchange import Exchange
from mcp_sessions.lifecycle import open_session
from mcp_sessions.lifecycle.manager import SessionManager
from mcp_sessions.metrics import SessionMetrics
from mcp_sessions.metrics.named import REASONS
from mcp_sessions.models import Session
from mcp_sessions.principals import Principal, user_owner
from mcp_sessions.records import EndReason
from mcp_sessions.runtime import run_sync
from mcp_sessions.security.authentication import (
    AllowAnonymous,
    JSONWebTokens,
    TokenIntrospection,
    VerifiedTokens,
    get_authenticators,
)
from mcp_sessions.security.authentication.threads import close_database_threads
from mcp_sessions.security.requirements import NOTHING, required_by, required_in
from mcp_sessions.security.watching import Watched
from mcp_sessions.security.wellknown import required_scopes
from mcp_sessions.state import once_of
from mcp_sessions.stores import get_store
from tests import guarded
from tests.records import new_session
from tests.sessions import open_sync

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = re.compile(r"<!-- tested: (\w+) -->\n```python\n(.*?)```", re.DOTALL)

TOOLS: Final = ("pay", "send_report")
"""Of the page about tools."""

# What the guide gives under "Basic Configuration", or as its default; where it shows a value in an
# example only, in brackets.
GUIDE: Final = {
    "SESSION_TIMEOUT": "1800",
    "IDLE_TIMEOUT": "300",
    "MAX_SESSIONS_PER_CLIENT": "5",
    "MAX_CONNECTIONS_PER_SESSION": "3",
    "SESSION_CLEANUP_INTERVAL": "300",
    "SESSION_GC_THRESHOLD": "1000",
    "SESSION_STORE": "memory",
    "SESSION_SERIALIZER": "(JSON)",
    "SESSION_ID_ENTROPY": "(256)",
    "SESSION_VALIDATION": "(`:strict`)",
    "SESSION_REFRESH_THRESHOLD": "(300)",
    "SESSION_REPLACEMENT_POLICY": "(`:replace_oldest`)",
    "SESSION_LOGGER": "(a `Logger`)",
    "SESSION_DEBUG": "(`true`)",
}


def examples(page: str = "README.md") -> dict[str, str]:
    return dict(EXAMPLE.findall((ROOT / page).read_text()))


def settings_page() -> str:
    return (ROOT / "docs/settings.md").read_text()


def test_the_readme_has_the_examples_that_are_tested_here() -> None:
    assert set(examples()) == {"settings", "asgi", "celery", "tools", "client", "messages"}


def test_the_settings_example() -> None:
    names: dict[str, Any] = {"INSTALLED_APPS": ["django.contrib.auth"], "DATABASES": {"default": {}}}
    exec(examples()["settings"], names)
    assert names["INSTALLED_APPS"][-1] == "mcp_sessions"
    assert set(names["MCP_SESSIONS"]) <= OPTIONS.keys()


def test_the_asgi_example() -> None:
    names: dict[str, Any] = {}
    exec(examples()["asgi"], names)
    assert callable(names["application"])


def test_the_celery_example() -> None:
    names: dict[str, Any] = {}
    exec(examples()["celery"], names)
    entry = names["app"].conf.beat_schedule["mcp-sessions-purge"]
    assert entry["task"] == "mcp_sessions.purge_expired_sessions"


async def test_the_tool_example() -> None:
    names: dict[str, Any] = {}
    exec(examples()["tools"], names)
    (tool,) = await names["server"].list_tools()
    assert tool.name == "add_to_basket"


@pytest.mark.django_db(transaction=True)
def test_the_messages_example_sends_what_it_says(process: None) -> None:
    """A client of the guide's dialect gets the event, and whoever subscribed to the order hears of it."""
    session = load_session(open_sync())
    get_store().subscribe(session.key, "order://7")
    exec(examples()["messages"], {"session": session})
    found = inspect_session(session.key, events=10)
    sent = {entry.event.name: json.loads(entry.event.data) for entry in found.events}
    assert sent["order-shipped"] == {"order": 7}
    assert sent["message"]["method"] == "notifications/resources/updated"
    assert sent["message"]["params"]["uri"] == "order://7"


@pytest.mark.django_db(transaction=True)
def test_the_examples_of_the_sessions_page(process: None) -> None:
    names: dict[str, Any] = {"session": load_session(open_sync()), "Basket": mock.MagicMock()}
    exec(examples("docs/sessions.md")["signals"], names)
    exec(examples("docs/sessions.md")["rotating"], names)
    exec(examples("docs/sessions.md")["ending"], names)
    run_sync(flush_deferred())
    for signal in (signals.session_ended, signals.session_expired):
        assert signal.disconnect(names["close_basket"])
    names["Basket"].objects.filter.assert_called_once_with(session=names["session"].key)
    update = names["Basket"].objects.filter.return_value.update
    update.assert_called_once_with(closed_because="subscription cancelled")


@pytest.mark.parametrize(("name", "made"), [("jwt", JSONWebTokens), ("introspection", TokenIntrospection)])
def test_the_tokens_of_the_authentication_page(settings: Any, name: str, made: type) -> None:
    names: dict[str, Any] = {}
    exec(examples("docs/authentication.md")[name], names)
    settings.MCP_SESSIONS = names["MCP_SESSIONS"]
    (authenticator,) = get_authenticators("/mcp")
    assert type(authenticator) is made


def test_every_signal_is_documented() -> None:
    there = {name for name, each in vars(signals).items() if isinstance(each, Signal)}
    page = (ROOT / "docs/sessions.md").read_text()
    assert set(re.findall(r"^\| `((?:session|connection|request)_\w+)`", page, re.MULTILINE)) == there


def test_the_settings_page_has_the_options_as_they_are_declared() -> None:
    """If this fails, run python docs/theme/options.py, which writes them."""
    with_options = runpy.run_path(str(ROOT / "docs/theme/options.py"))["with_options"]
    assert with_options(settings_page()) == settings_page()
    assert re.findall(r"^### `([A-Z_]+)`$", settings_page(), re.MULTILINE) == list(OPTIONS)


def test_every_option_is_in_one_group() -> None:
    declared = [name for group in GROUPS for name, value in vars(group).items() if isinstance(value, Option)]
    assert declared == list(OPTIONS)
    assert [group.title for group in GROUPS if not inspect.getdoc(group)] == []


def test_the_options_have_the_guides_values() -> None:
    assert {name: option.guide for name, option in OPTIONS.items() if option.guide} == GUIDE


def test_the_endpoints_of_the_settings_page_differ(settings: Any) -> None:
    names: dict[str, Any] = {}
    exec(examples("docs/settings.md")["endpoints"], names)
    settings.MCP_SESSIONS = names["MCP_SESSIONS"]
    assert problems() == []
    assert [AppSettings(path).SESSION_TIMEOUT for path in ("/mcp", "/reports")] == [3600, 4 * 3600]


def test_every_check_is_documented() -> None:
    documented = re.findall(r"^\| `([EW]\d{3})` \| \S", settings_page(), re.MULTILINE)
    sources = [*(ROOT / "mcp_sessions/checks").glob("*.py"), ROOT / "mcp_sessions/conf/checking.py"]
    raised = {each for path in sources for each in re.findall(r"\b[EW]\d{3}\b", path.read_text())}
    assert documented == sorted(raised)


def test_the_examples_of_the_authentication_page(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    shop = SimpleNamespace(
        ShopTokenVerifier=guarded.Verifier, verifier=guarded.verifier, OurAuthenticator=AllowAnonymous
    )
    monkeypatch.setitem(sys.modules, "shop", SimpleNamespace(auth=shop))
    monkeypatch.setitem(sys.modules, "shop.auth", shop)
    shown: dict[str, dict[str, Any]] = {"own": {}, "both": {}, "requires": {"server": MCPServer("shop")}}
    shown["table"] = {}
    for name, names in shown.items():
        exec(examples("docs/authentication.md")[name], names)
    monkeypatch.setattr(guarded, "sdk", shown["own"]["server"])
    settings.MCP_SESSIONS = {"SERVER": "tests.guarded:sdk"}
    (own,) = get_authenticators("/mcp")
    assert own.authorization_servers == ("https://login.example.com",)
    assert required_scopes("/mcp") == {"shop"}
    settings.MCP_SESSIONS = {**shown["both"]["MCP_SESSIONS"], "SERVER": "tests.guarded:sdk"}
    assert list(map(type, get_authenticators("/mcp"))) == [AllowAnonymous, VerifiedTokens, VerifiedTokens]
    table, server = shown["table"]["MCP_SESSIONS"]["REQUIRES"], shown["requires"]["server"]
    settings.MCP_SESSIONS = {"SERVER": "tests.guarded:sdk", "REQUIRES": table}
    assert problems() == []
    for name in ("change_order", "delete_customer"):
        # The two examples say the same.
        required = required_by(server._tool_manager.get_tool(name))
        assert required == required_in(table, "tools", name) != NOTHING


def test_the_examples_of_calls_that_happen_once(settings: Any) -> None:
    """Both say the same of the same tools."""
    shown = examples("docs/tools.md")
    server, table = MCPServer("shop"), dict[str, Any]()
    exec(shown["once"], {"server": server})
    exec(shown["once_table"], table)
    declared = {name: once_of(server._tool_manager.get_tool(name), name, "/mcp") for name in TOOLS}
    settings.MCP_SESSIONS = {**table["MCP_SESSIONS"], "SERVER": "tests.guarded:sdk"}
    assert problems() == []
    assert declared == {name: once_of(None, name, "/mcp") for name in TOOLS}
    assert None not in declared.values()


def test_the_example_of_who_may_watch() -> None:
    names: dict[str, Any] = {}
    exec(examples("docs/authentication.md")["may_watch"], names)
    ann = Principal("https://login.example", "ann")
    watched = [(), ("board://1", "orders://ann/7"), ("orders://ben/7",)]
    assert [names["may_watch"](ann, "/mcp", Watched(each)) for each in watched] == [True, True, False]


async def test_the_authenticator_of_the_authentication_page(monkeypatch: pytest.MonkeyPatch) -> None:
    user, keys = SimpleNamespace(pk=7), mock.MagicMock()
    found = keys.objects.select_related.return_value.filter.return_value.first
    monkeypatch.setitem(sys.modules, "shop", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "shop.models", SimpleNamespace(APIKey=keys))
    names: dict[str, Any] = {}
    with isolate_apps("mcp_sessions"):
        exec(examples("docs/authentication.md")["api_key"], model := {"__name__": "mcp_sessions.shop"})
    assert {"digest", "user", "scopes"} < {each.name for each in model["APIKey"]._meta.fields}
    exec(examples("docs/authentication.md")["authenticator"], names)
    authenticator = names["APIKeys"]("/mcp")

    async def principal(**headers: str) -> Any:
        return await authenticator.authenticate(Exchange("POST", "/mcp", "/mcp", headers))

    assert await principal(authorization="Bearer another") is None
    found.return_value = SimpleNamespace(user=user, scopes="shop orders:write")
    sender = await principal(**{"x-api-key": "a key"})
    assert (sender.owner, sender.scopes) == ("user:7", {"shop", "orders:write"})
    found.return_value = None
    with pytest.raises(mcp_sessions.InvalidCredential):
        await principal(**{"x-api-key": "none"})
    await asyncio.to_thread(close_database_threads)


def test_the_generators_of_the_settings_page_make_ids(settings: Any) -> None:
    shown = examples("docs/settings.md")
    assert set(shown) == {"endpoints", "generator", "sample", "rates"}
    made: dict[str, dict[str, Any]] = {"generator": {}, "sample": {}}
    for name, names in made.items():
        exec(shown[name], names)
    own = made["generator"]["MCP_SESSIONS"]
    for chosen in (own, {**own, "SESSION_ID_GENERATOR": made["sample"]["generator"]}):
        settings.MCP_SESSIONS = chosen
        session_id = SessionManager().generate_session_id()
        assert SessionManager().validate_session_id(session_id)
    assert re.fullmatch("MCP[0-9A-Z]+[0-9A-F]{24}", session_id)


def test_the_rates_of_the_settings_page_can_be(settings: Any) -> None:
    names: dict[str, Any] = {}
    exec(examples("docs/settings.md")["rates"], names)
    settings.MCP_SESSIONS = names["MCP_SESSIONS"]
    assert problems() == []
    assert set(AppSettings("/mcp").RATE_LIMITS) == set(RATE_SCOPES)


def test_the_public_names_are_those_that_are_documented() -> None:
    """By themselves, or by the twin that is not awaited; and no page imports another."""
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    shown = re.findall(r"^from mcp_sessions import (.+)$", pages, re.MULTILINE)
    assert {name for names in shown for name in names.split(", ")} <= set(mcp_sessions.__all__)
    words = set(re.findall(r"\w+", pages))
    assert [name for name in mcp_sessions.__all__ if not {name, name.removeprefix("a")} & words] == []


def test_every_exported_name_is_in_the_reference() -> None:
    assert dir(mcp_sessions) == sorted(mcp_sessions.__all__)
    reference = (ROOT / "docs/reference.md").read_text()
    for module in (mcp_sessions, testing):
        name = re.escape(module.__name__)
        referred = re.findall(rf"^::: {name}\.(\w+)$", reference, re.MULTILINE)
        assert sorted(referred) == sorted(module.__all__)


def test_all_signals_and_exceptions_are_exported() -> None:
    heard = {name for name, each in vars(signals).items() if isinstance(each, Signal)}
    raised = {name for name, each in vars(exceptions).items() if _is_error(each)}
    assert heard | raised <= set(dir(mcp_sessions))


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, exceptions.MCPSessionsError)


def test_every_object_of_the_reference_is_there() -> None:
    reference = (ROOT / "docs/reference.md").read_text()
    for path in re.findall(r"^::: ([\w.]+)$", reference, re.MULTILINE):
        assert import_string(path).__doc__, path


def test_the_public_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(mcp_sessions.__file__).read_text())
    typed = {
        name.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert sorted(typed) == sorted(mcp_sessions.__all__)
    for name, module in typed.items():
        assert getattr(mcp_sessions, name) is getattr(import_module(str(module)), name)
    assert not hasattr(mcp_sessions, "load")


def test_the_tree_of_exceptions_is_the_one_drawn() -> None:
    drawn = re.findall(r"^[│├└─ ]*(\w+)$", (exceptions.__doc__ or "").strip(), re.MULTILINE)
    there = [name for name, value in vars(exceptions).items() if isinstance(value, type)]
    assert sorted(set(drawn)) == sorted(
        name for name in there if issubclass(getattr(exceptions, name), Exception)
    )


def pages() -> list[Path]:
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
    return [*(ROOT / name for name in names), *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """What a link into the page may name: its headings, as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_the_links_of_every_page_lead_somewhere(page: Path) -> None:
    lost = []
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append((path, anchor))
    assert lost == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_row_of_a_table_has_its_columns(page: Path) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table


def test_every_setting_that_a_page_names_is_there() -> None:
    """In the pages' own way of writing them: MAX_…, SESSION_…, …_SECONDS and the like."""
    kinds = re.compile(r"\b(?:MAX|SESSION|STORE)_[A-Z_]+\b|\b[A-Z]+_(?:SECONDS|TIMEOUT|BYTES)\b")
    named = {name for page in pages() for name in kinds.findall(page.read_text())}
    assert named - set(dir(global_settings)) <= OPTIONS.keys()
    checks = "".join(path.read_text() for path in (ROOT / "mcp_sessions/checks").glob("*.py"))
    assert set(kinds.findall(checks)) <= OPTIONS.keys()


SESSION_ENDS: Final = {value for name, value in vars(EndReason).items() if name.isupper()}
CONNECTION_ENDS: Final = {each.name.lower() for each in Closing if each is not Closing.DETACHED} | {"client"}


@pytest.mark.parametrize(
    ("page", "row", "reasons"),
    [
        ("sessions.md", "session_ended", SESSION_ENDS - {"expired", "idle"}),
        ("sessions.md", "connection_closed", CONNECTION_ENDS),
        ("logging.md", "ended", SESSION_ENDS - {"expired", "idle"}),
        ("logging.md", "connection_closed", CONNECTION_ENDS),
        ("metrics.md", "mcp.session.ended", SESSION_ENDS - {"expired", "idle"} | {"other"}),
        ("metrics.md", "mcp.session.connection.closed", CONNECTION_ENDS),
    ],
)
def test_every_reason_is_documented(page: str, row: str, reasons: set[str]) -> None:
    (cells,) = re.findall(
        rf"^\| `{re.escape(row)}` \|(.+)\|$", (ROOT / "docs" / page).read_text(), re.MULTILINE
    )
    known = REASONS | {"other"}
    # One of the labels is called as a reason is.
    assert set(re.findall(r"`(\w+)`", cells)) & known - {"server"} == reasons


def test_metrics_know_every_reason() -> None:
    assert SESSION_ENDS | CONNECTION_ENDS <= REASONS


def test_the_app_has_a_name_for_people() -> None:
    assert apps.get_app_config("mcp_sessions").verbose_name == "MCP sessions"


@pytest.mark.django_db(transaction=True)
def test_the_examples_of_the_metrics_page(
    settings: Any, rf: RequestFactory, caplog: pytest.LogCaptureFixture
) -> None:
    shown = examples("docs/metrics.md")
    assert set(shown) == {"choosing", "prometheus", "protecting", "own"}
    names: dict[str, Any] = {"urlpatterns": []}
    for example in shown.values():
        exec(example, names)
    settings.METRICS_TOKEN = "a secret"
    settings.MCP_SESSIONS = names["MCP_SESSIONS"]
    (url,) = names["urlpatterns"]
    assert url.callback(rf.get("/metrics")).status_code == 200
    authorized = rf.get("/metrics", headers={"Authorization": "Bearer a secret"})
    assert names["protected_metrics"](authorized).status_code == 200
    for request in (rf.get("/metrics"), rf.get("/metrics", headers={"Authorization": "Bearer é"})):
        with pytest.raises(PermissionDenied):
            names["protected_metrics"](request)
    metrics = names["ShopMetrics"](shortest=2)
    assert isinstance(metrics, SessionMetrics)
    with caplog.at_level("INFO", "shop.sessions"):
        for duration in (1.5, 2.5):
            metrics.record_session_ended(new_session(), duration, "deleted")
    assert [line.getMessage() for line in caplog.records if line.name == "shop.sessions"] == [
        "a session at /mcp was over after 1.5 s: deleted"
    ]


RECIPES: Final = ("internal", "public", "machines", "demo")


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_recipes_for_security(recipe: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check --deploy` has nothing to say of them, and their authenticators can be made."""
    monkeypatch.setenv("WAREHOUSE_TOKEN_SHA256", "0" * 64)
    names: dict[str, Any] = {}
    exec(examples("docs/security.md")[recipe], names)
    tools = SimpleNamespace(server=MCPServer("shop"))
    monkeypatch.setitem(sys.modules, "shop", SimpleNamespace(tools=tools))
    monkeypatch.setitem(sys.modules, "shop.tools", tools)
    for name in filter(str.isupper, names):
        setattr(settings, name, names[name])
    assert check_configuration() == []
    said = [each.id or "" for each in run_checks(include_deployment_checks=True)]
    assert [each for each in said if each.startswith("mcp_sessions.")] == []
    assert len(get_authenticators("/mcp")) == 1


@pytest.mark.django_db(transaction=True)
def test_the_example_of_ending_an_owners_sessions(process: None) -> None:
    user = get_user_model().objects.create_user("ann")
    run_sync(open_session("/mcp", user_owner(user.pk), {}))
    assert set(examples("docs/security.md")) == {*RECIPES, "ending"}
    exec(examples("docs/security.md")["ending"], {"user": user})
    assert Session.objects.get().end_reason == "left the company"


def test_the_code_that_the_page_on_architecture_names_is_there() -> None:
    page, package = (ROOT / "docs/architecture.md").read_text(), ROOT / "mcp_sessions"
    paths = re.findall(r"`((?:\w+/)*\w+\.py|(?:delivery|stores|testing|tests)/\w+)`", page)
    assert [path for path in paths if not (package / path).exists() and not (ROOT / path).exists()] == []
    classes = (
        node
        for room in ("delivery", "protocol")
        for path in (package / room).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    methods = {f"{each.name}.{method}" for each in classes for method in _methods(each)}
    named = set(re.findall(r"`([A-Z]\w+\.\w+)`", page))
    assert len(named) > 5
    assert named - methods == set()
    for path in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", page):
        assert path.endswith(".py") or import_string(f"mcp_sessions.{path.removeprefix('mcp_sessions.')}")


def _methods(node: ast.ClassDef) -> list[str]:
    return [each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


@pytest.mark.parametrize("page", ["workers.md", "troubleshooting.md"])
def test_the_log_lines_that_tables_quote_are_those_of_the_code(page: str) -> None:
    quoted = re.findall(r"^\| `([^`]+)`.*\|$", _log_table((ROOT / "docs" / page).read_text()), re.MULTILINE)
    logged = [re.sub(r"%[sdgr]", "…", text) for text in _texts_of_the_code()]
    wanted = [re.sub(r"\d+", "…", line).rstrip("…") for line in quoted]
    assert len(wanted) > 2
    assert [line for line in wanted if not any(text.startswith(line) for text in logged)] == []


def _log_table(page: str) -> str:
    """The table of log lines, which names their loggers before it or in its head."""
    (table,) = re.findall(r"^\| (?:line|the log says .*) \|.*\n\|(?:.*\n\|)+.*", page, re.MULTILINE)
    return str(table)


def _texts_of_the_code() -> set[str]:
    nodes = (
        node
        for path in (ROOT / "mcp_sessions").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
    )
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
