"""What SESSION_DEBUG shows, and where nothing needs to be added."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from mcp_sessions.logs import showing
from tests.harness.pages import examples

APP = "mcp_sessions_of_a_test"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is written to the standard error, of an app whose loggers nobody has configured."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    monkeypatch.setattr(showing, "LOGGER", APP)
    showing.show.cache_clear()
    showing.show()
    showing.show()
    yield written
    showing.show.cache_clear()
    logging.getLogger(APP).handlers.clear()


def say(name: str = f"{APP}.requests") -> None:
    logging.getLogger(name).debug("a request")


def test_lines_are_shown_once(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    say()
    assert shown.getvalue().endswith(f" DEBUG {APP}.requests: a request\n")
    assert shown.getvalue().count("\n") == 1


def test_nothing_is_added_to_what_the_project_shows(
    shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    say()
    assert shown.getvalue() == ""


def test_a_handler_that_does_not_take_them_counts_for_none(
    shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler(logging.INFO)])
    say()
    assert "a request" in shown.getvalue()


def test_nor_does_one_that_they_do_not_come_to(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.NullHandler()])
    monkeypatch.setattr(logging.getLogger(APP), "propagate", False)
    say()
    assert "a request" in shown.getvalue()


LINE: Final = "word " * 60
LOGS_WITH_AN_SDK: Final = f"""
import logging, logging.config
logging.config.dictConfig(LOGGING)
import fastmcp
from mcp.server.mcpserver import MCPServer
MCPServer("shop"), fastmcp.FastMCP("shop")
logging.getLogger("shop").info({LINE!r})
logging.getLogger("fastmcp.shop").info({LINE!r})
logging.getLogger("django.request").warning("Not Found: /.well-known/oauth-protected-resource")
"""
SHOWN: Final = f"LOGGING = {{}}\n{examples('logging.md')['plain']}"
EXAMPLE: Final = "from example_project.settings import LOGGING"


@pytest.mark.parametrize("chosen", [SHOWN, EXAMPLE], ids=["the page", "the example project"])
def test_no_sdk_breaks_the_lines(chosen: str) -> None:
    """And what is refused by design is no warning."""
    done = subprocess.run(
        [sys.executable, "-c", chosen + LOGS_WITH_AN_SDK],
        env={**os.environ, "FASTMCP_LOG_ENABLED": "false"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert [line[-len(LINE) :] for line in told] == [LINE, LINE]
