"""What is logged stays on its line, whatever a client's words are made of."""

from __future__ import annotations

import logging
import re
from io import StringIO
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mcp_sessions
from mcp_sessions.conf import AppSettings
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.logs import LOGGERS, shown
from mcp_sessions.logs.lines import MAX_LENGTH, ONE_LINE
from tests.doors.client import McpClient, call, initialize, request
from tests.doors.doors import open_door


@given(st.text(st.characters(exclude_categories=())))
def test_a_value_is_shown_on_one_line(text: str) -> None:
    safe = shown(text)
    assert len(safe.splitlines()) <= 1 and safe.isprintable()
    assert safe.encode() is not None
    if text.isprintable() and len(text) <= MAX_LENGTH:
        assert safe == text


def test_a_long_value_is_cut() -> None:
    assert shown("a" * 10_000) == "a" * MAX_LENGTH + "…"
    assert len(shown("\n" * 10_000)) == 2 * MAX_LENGTH + 1


def test_every_logger_of_the_app_shows_values_so() -> None:
    found = set()
    for path in Path(mcp_sessions.__file__).parent.rglob("*.py"):
        found |= set(re.findall(r'getLogger\("(mcp_sessions\.[^"]*)"\)', path.read_text(encoding="utf-8")))
    assert found | {AppSettings("/mcp").SESSION_LOGGER} == set(LOGGERS)
    assert all(ONE_LINE in logging.getLogger(name).filters for name in LOGGERS)


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_lines_of_values_and_exceptions() -> None:
    forged = "a\nFORGED \x1b[31m\u2028\r\n"
    logger = logging.getLogger("mcp_sessions.protocol")
    written = StringIO()
    handler = logging.StreamHandler(written)
    logger.addHandler(handler)
    try:
        try:
            try:
                raise ValueError(forged)
            except ValueError as error:
                raise ExceptionGroup(forged, [KeyError(forged), OSError(forged)]) from error
        except ExceptionGroup as error:
            logger.error("%s and %d, %.1f", forged, 7, 1.25, exc_info=error)
            logger.error("%(name)s: %(error)s", {"name": forged, "error": error})
        logger.error("none, and %s", None)
        logger.error("100 %")
        assert ONE_LINE.filter(logging.makeLogRecord({"args": (Unspeakable(),)}))
    finally:
        logger.removeHandler(handler)
    text = written.getvalue()
    assert text.startswith(r"a\nFORGED \x1b[31m\u2028\r\n and 7, 1.2")
    assert not [line for line in text.split("\n") if line.lstrip(" |+-").startswith("FORGED")]
    assert not {"\x1b", "\u2028", "\r"} & set(text)
    assert text.endswith("none, and None\n100 %\n")


FORGED: Final = "x\nFORGED ERROR mcp_sessions.sessions: session ended\r\u2028\x1b[31m\x00\ud800"


@pytest.mark.django_db(transaction=True)
async def test_no_line_is_a_clients(process: None, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    """In every place where a client has words of its own, and with what handlers make of them."""
    servers = {
        "/mcp": {"SERVER": "tests.hostile:server", "SESSION_DEBUG": True},
        "/fast": {"SERVER": "tests.hostile:fast", "SESSION_DEBUG": True},
    }
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": servers}
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, name)
    door = open_door("mount")
    for path in servers:
        client = McpClient(door, path=path, more_headers={"User-Agent": "a\x1b[31m"})
        opening = initialize()
        opening["params"]["clientInfo"] = {"name": FORGED, "version": FORGED}
        response = await client.post(opening)
        client.session_id = response.headers.get("mcp-session-id")
        for message in (
            call(FORGED),
            call("misbehave", {"how": FORGED}),
            call("misbehave_in_thread", {"how": FORGED}),
            call("fail_in_these_words", {"words": FORGED}),
            request(FORGED),
            request(FORGED, {"name": FORGED}),
            request("prompts/get", {"name": FORGED}),
            request("prompts/get", {"name": "misbehave", "arguments": {"how": FORGED}}),
            request("resources/read", {"uri": f"misbehave://{FORGED}"}),
            request("resources/subscribe", {"uri": FORGED}),
            request("logging/setLevel", {"level": FORGED}),
            request("tools/list", {"cursor": FORGED}),
            {**request("ping"), "id": FORGED},
        ):
            await (await client.post(message)).body()
        await client.notify(FORGED)
        await client.notify(FORGED, {FORGED: FORGED})
        await client.cancel(FORGED, FORGED)
        await client.notify("notifications/progress", {"progressToken": FORGED, "progress": 1})
        await (await client.get(last_event_id="x", **{"MCP-Protocol-Version": "2025\x1b[31m"})).body()
        await client.delete()
    await flush_deferred()
    await door.close()
    written = [record for record in caplog.records if record.name in LOGGERS]
    assert len(written) > 20
    formatter = logging.Formatter("%(levelname)s %(name)s: %(message)s")
    assert any("FORGED" in formatter.format(record) for record in written)
    for record in written:
        message = record.getMessage()
        assert message.isprintable(), (record.pathname, record.lineno, message)
        text = formatter.format(record)
        assert not [line for line in text.splitlines() if line.startswith("FORGED")], text
        assert not {"\x1b", "\u2028", "\x00", "\ud800"} & set(text), text
