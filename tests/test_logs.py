"""What SESSION_DEBUG shows, and where nothing needs to be added."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from mcp_sessions.logs import showing

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
