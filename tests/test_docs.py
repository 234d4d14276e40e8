"""What the documentation shows is run, and what it lists is what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps

import mcp_sessions
from mcp_sessions import exceptions
from mcp_sessions.conf import AppSettings, option_names

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = re.compile(r"<!-- tested: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
ROW = re.compile(r"^\| `([A-Z_]+)` \| ([^|]+) \|", re.MULTILINE)


def examples() -> dict[str, str]:
    return dict(EXAMPLE.findall((ROOT / "README.md").read_text()))


def test_the_readme_has_the_examples_that_are_tested_here() -> None:
    assert set(examples()) == {"settings", "asgi", "celery", "tool", "messages"}


def test_the_settings_example() -> None:
    names: dict[str, Any] = {"INSTALLED_APPS": ["django.contrib.auth"]}
    exec(examples()["settings"], names)
    assert names["INSTALLED_APPS"][-1] == "mcp_sessions"
    assert set(names["MCP_SESSIONS"]) <= option_names()


def test_the_asgi_example() -> None:
    names: dict[str, Any] = {}
    exec(examples()["asgi"], names)
    assert callable(names["application"])


def test_the_celery_example() -> None:
    from celery import Celery

    names: dict[str, Any] = {"app": Celery("project")}
    exec(examples()["celery"], names)
    (entry,) = names["app"].conf.beat_schedule.values()
    assert entry["task"] == "mcp_sessions.purge_expired_sessions"


async def test_the_tool_example() -> None:
    names: dict[str, Any] = {}
    exec(examples()["tool"], names)
    (tool,) = await names["server"].list_tools()
    assert tool.name == "add_to_basket"


@pytest.mark.django_db(transaction=True)
def test_the_messages_example_names_what_there_is() -> None:
    """It is run up to the session, which is not there; tests/test_state.py sends for real."""
    session = type("Session", (), {"key": "nobody"})()
    with pytest.raises(exceptions.SessionNotFound):
        exec(examples()["messages"], {"session": session})


def test_every_option_is_documented_with_its_default() -> None:
    documented = dict(ROW.findall((ROOT / "docs/settings.md").read_text()))
    assert set(documented) == option_names()
    plain = {name: text.strip().strip("`") for name, text in documented.items()}
    for name in option_names() - {"SERVER", "SERVERS", "SESSION_STORE"}:
        assert plain[name] == str(vars(AppSettings)[name]), name


def test_the_public_names_are_there() -> None:
    for name in mcp_sessions.__all__:
        assert callable(getattr(mcp_sessions, name))


def test_the_tree_of_exceptions_is_the_one_drawn() -> None:
    drawn = re.findall(r"^[│├└─ ]*(\w+)$", (exceptions.__doc__ or "").strip(), re.MULTILINE)
    there = [name for name, value in vars(exceptions).items() if isinstance(value, type)]
    assert sorted(set(drawn)) == sorted(
        name for name in there if issubclass(getattr(exceptions, name), Exception)
    )


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_app_has_a_name_for_people() -> None:
    assert apps.get_app_config("mcp_sessions").verbose_name == "MCP sessions"
