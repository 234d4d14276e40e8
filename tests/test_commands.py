"""The commands for operators: what they print, for people and for programs, and how they exit."""

from __future__ import annotations

import io
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from celery import Celery
from django.core.management import CommandError, call_command
from django.utils import timezone

from mcp_sessions.analytics import SessionStatistics
from mcp_sessions.deferred import flush_deferred
from mcp_sessions.identifiers import new_key, new_session_id, new_stream_name
from mcp_sessions.lifecycle import end_session, open_session
from mcp_sessions.models import Session
from mcp_sessions.records import Append, EndReason, SessionRecord
from mcp_sessions.runtime import run_sync
from mcp_sessions.state import load_session
from mcp_sessions.stores import get_store
from mcp_sessions.stores.memory import InMemorySessionStore
from mcp_sessions.tasks import beat_schedule
from tests.harness.ports import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("process")]

ROOT: Final = Path(__file__).resolve().parent.parent
CLIENT: Final = {
    "dialect": "guide",
    "protocol_version": "2025-11-25",
    "client": {"name": "till", "version": "1.2"},
    "address": "192.0.2.7",
}


class SharedMemory(InMemorySessionStore):
    """As another store of several processes is, for commands."""

    shared_by_processes = True


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def opened() -> tuple[str, SessionRecord]:
    """A new session's id, and its record."""
    return run_sync(open_session("/mcp", "", CLIENT))


def run_out(*keys: str) -> None:
    at = timezone.now()
    Session.objects.filter(key__in=keys).update(expires_at=at, timeout_at=at)


def command(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue()


def failure(*arguments: str) -> tuple[CommandError, str]:
    """How it failed, and what it had printed by then."""
    out = io.StringIO()
    with pytest.raises(CommandError) as raised:
        call_command(*arguments, stdout=out)
    return raised.value, out.getvalue()


# -- list_mcp_sessions -----------------------------------------------------------------------


def listed(*options: str) -> list[str]:
    """The keys."""
    told = json.loads(command("list_mcp_sessions", "--json", *options))
    assert told["has_more"] is False
    return [session["key"] for session in told["sessions"]]


def test_sessions_are_listed_by_state() -> None:
    live, expired, ended = (opened()[1].key for _ in range(3))
    run_out(expired)
    end_session(ended)
    assert listed() == listed("--state", "live") == [live]
    assert listed("--state", "expired") == [expired]
    assert listed("--state", "ended") == [ended]
    assert listed("--state", "all") == [ended, expired, live]


def test_sessions_are_listed_by_endpoint_client_and_address() -> None:
    _, session = opened()
    other = {**CLIENT, "client": {"name": "Desk"}, "address": "198.51.100.4"}
    _, elsewhere = run_sync(open_session("/other", "", other))
    assert listed() == [elsewhere.key, session.key]
    assert listed("--server", "/mcp") == listed("--client", "TILL") == [session.key]
    assert listed("--address", "198.51.") == listed("--client", "de") == [elsewhere.key]
    assert listed("--server", "/mcp", "--client", "desk") == listed("--client", "t%_") == []
    error, _ = failure("list_mcp_sessions", "--server", "/nowhere")
    assert error.returncode == 1


def test_a_listed_session_says_who_and_when() -> None:
    session_id, session = opened()
    told = command("list_mcp_sessions", "--json")
    assert session_id not in told and session.digest not in told
    (shown,) = json.loads(told)["sessions"]
    assert shown == {
        "key": session.key,
        "state": "live",
        "server": "/mcp",
        "owner": "",
        "client": "till 1.2",
        "address": "192.0.2.7",
        "protocol_version": "2025-11-25",
        "dialect": "guide",
        "created_at": session.created_at.isoformat(),
        "last_accessed_at": session.last_accessed_at.isoformat(),
        "expires_at": session.expires_at.isoformat(),
        "ended_at": None,
        "end_reason": "",
        "requests": 0,
        "connections": 0,
    }


def test_no_more_are_listed_than_asked_for() -> None:
    keys = [opened()[1].key for _ in range(3)]
    told = json.loads(command("list_mcp_sessions", "--json", "--limit", "2"))
    assert ([session["key"] for session in told["sessions"]], told["has_more"]) == (keys[:0:-1], True)
    assert command("list_mcp_sessions", "--limit", "2").splitlines()[-1] == (
        "There are more than these 2: see --limit."
    )
    for limit in ("0", "-1", "10001", "many", "1.5"):
        with pytest.raises(CommandError):
            call_command("list_mcp_sessions", "--limit", limit)


def test_sessions_are_listed_for_people() -> None:
    assert command("list_mcp_sessions").strip() == "There is no such session."
    _, session = run_sync(open_session("/mcp", "", {**CLIENT, "client": {"name": "a\nb" + "c" * 99}}))
    head, line = command("list_mcp_sessions").splitlines()
    assert head.split() == ["KEY", "STATE", "SERVER", "CLIENT", "ADDRESS", "SEEN", "REQUESTS"]
    assert line.split()[:3] == [session.key, "live", "/mcp"]
    assert f"a?b{'c' * 20}…" in line and "192.0.2.7" in line and "ago" in line


def test_sessions_of_another_store_are_listed_by_their_rows(settings: Any) -> None:
    settings.MCP_SESSIONS = {
        **settings.MCP_SESSIONS,
        "SESSION_STORE": {"BACKEND": f"{__name__}.SharedMemory"},
    }
    _, session = opened()
    run_sync(flush_deferred())
    assert listed() == [session.key]
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_ROWS": False}
    error, _ = failure("list_mcp_sessions")
    assert "SESSION_ROWS" in str(error)


# -- inspect_mcp_session ---------------------------------------------------------------------


def with_streams(session: SessionRecord) -> list[str]:
    """One that a client is connected to, one that was read to its end, and one of a call that runs."""
    names = sorted(new_stream_name() for _ in range(3))
    store = get_store()
    store.open_stream(session.key, names[0], "get")
    store.attach(session.key, names[0], "here", 0, None)
    store.open_stream(session.key, names[1], "post", "here", [7])
    store.append([Append(names[1], (("message", "{}"),), ends=True, writer="here")])
    store.open_stream(session.key, names[2], "post", "there", ["a"])
    return names


def test_a_session_is_shown_to_programs() -> None:
    _, session = opened()
    names = with_streams(session)
    with load_session(session.key).edit() as data:
        data["basket"] = ["tea"]
    shown = json.loads(command("inspect_mcp_session", session.key, "--json"))
    streams = shown.pop("streams")
    instants = {name: shown.pop(name) for name in list(shown) if name.endswith("_at")}
    assert shown == {
        "key": session.key,
        "state": "live",
        "server": "/mcp",
        "owner": "",
        "end_reason": "",
        "requests": 0,
        "connected": 0,
        "connections": 1,
        "running_calls": 1,
        "metadata": CLIENT,
        "data": {"basket": ["tea"]},
    }
    assert instants["expires_at"] == instants["timeout_at"] == session.expires_at.isoformat()
    assert instants["created_at"] == session.created_at.isoformat()
    assert instants["ended_at"] is None
    assert [stream["name"] for stream in streams] == names
    assert [(stream["kind"], stream["reader"], stream["writer"]) for stream in streams] == [
        ("get", "here", ""),
        ("post", "", ""),
        ("post", "there", "there"),
    ]
    assert [stream["request_ids"] for stream in streams] == [[], [7], ["a"]]
    assert [stream["ended_at"] is None for stream in streams] == [True, False, True]


def test_a_session_is_shown_to_people() -> None:
    _, session = opened()
    names = with_streams(session)
    with load_session(session.key).edit() as data:
        data["basket"] = ["tée"]
    lines = command("inspect_mcp_session", session.key).splitlines()
    assert lines[0] == f"Session {session.key}: live"
    assert "  client      till 1.2" in lines
    assert "  speaks      2025-11-25 (guide)" in lines
    assert "  address     192.0.2.7" in lines
    assert "  open now    connections: 1, running calls: 1" in lines
    expires = f"{session.expires_at:%Y-%m-%d %H:%M:%S} UTC (in "
    assert any(line.startswith(f"  expires     {expires}") for line in lines)
    assert f"  {names[1]}  post, 0 of 1 events delivered, ended" in lines
    data_at = lines.index("Data") + 1
    assert json.loads("\n".join(lines[data_at:])) == {"basket": ["tée"]}


def test_a_session_is_found_by_its_id_which_is_never_repeated() -> None:
    session_id, session = opened()
    for options in ([], ["--json"]):
        shown = command("inspect_mcp_session", session_id, *options)
        assert session.key in shown
        assert session_id not in shown
        assert session.digest not in shown


def test_a_session_that_is_over_is_shown_too() -> None:
    (_, ended), (_, expired) = opened(), opened()
    end_session(ended.key, "audit")
    run_out(expired.key)
    shown = json.loads(command("inspect_mcp_session", ended.key, "--json"))
    assert (shown["state"], shown["end_reason"]) == ("ended", "audit")
    assert "ago): audit" in command("inspect_mcp_session", ended.key)
    assert json.loads(command("inspect_mcp_session", expired.key, "--json"))["state"] == "expired"


@pytest.mark.parametrize("key", ["0123456789abcdef01234567", "A1" * 16, "", "no key at all", "-" * 200])
def test_what_is_not_there_is_said_without_repeating_it(key: str) -> None:
    error, printed = failure("inspect_mcp_session", "--json", "--", key)
    assert (error.returncode, str(error), printed) == (1, "There is no such session.", "")


# -- end_mcp_session -------------------------------------------------------------------------


def test_sessions_are_ended_by_key_and_by_id() -> None:
    (first_id, first), (_, second), (_, third) = opened(), opened(), opened()
    printed = command("end_mcp_session", first_id, second.key, "--reason", "audit", "--json")
    assert json.loads(printed) == {"ended": [first.key, second.key], "not_found": []}
    assert first_id not in printed
    reasons = dict(Session.objects.values_list("key", "end_reason"))
    assert reasons == {first.key: "audit", second.key: "audit", third.key: ""}
    assert command("end_mcp_session", third.key) == "Ended 1 session.\n"
    assert Session.objects.get(key=third.key).end_reason == EndReason.OPERATOR


def test_those_that_are_there_are_ended_and_the_others_named_by_their_place() -> None:
    (_, ended), (_, live), unknown = opened(), opened(), new_session_id()
    end_session(ended.key)
    error, printed = failure("end_mcp_session", ended.key, live.key, unknown, "--json")
    assert json.loads(printed) == {"ended": [live.key], "not_found": [1, 3]}
    assert (error.returncode, str(error)) == (1, f"There is no live session for {ended.key}, no. 3.")


def test_a_reason_that_no_store_can_keep_ends_nothing() -> None:
    _, session = opened()
    error, _ = failure("end_mcp_session", session.key, "--reason", "x" * 33)
    assert str(error) == "A reason has at most 32 characters."
    assert Session.objects.get().ended_at is None


def opened_at(*addresses: str) -> list[str]:
    """Keys of new sessions from these addresses."""
    return [run_sync(open_session("/mcp", "", {**CLIENT, "address": each}))[1].key for each in addresses]


def test_the_sessions_of_an_address_are_ended_and_no_others() -> None:
    first, second, longer, other = opened_at("192.0.2.1", "192.0.2.1", "192.0.2.10", "2001:db8::1")
    printed = command("end_mcp_session", "--address", "192.0.2.1", "--reason", "attack", "--json")
    assert json.loads(printed) == {"ended": 2, "address": "192.0.2.1"}
    reasons = dict(Session.objects.values_list("key", "end_reason"))
    assert reasons == {first: "attack", second: "attack", longer: "", other: ""}


@pytest.mark.parametrize("beginning", ["192.0.2.", "2001:db8:"])
def test_the_sessions_of_addresses_that_begin_so_are_ended(beginning: str) -> None:
    opened_at("192.0.2.1", "192.0.2.10", "192.0.20.1", "2001:db8::1", "2001:db8:1::1", "2001:db80::1")
    assert command("end_mcp_session", "--address", beginning) == "Ended 2 sessions.\n"
    ended = Session.objects.exclude(ended_at=None).values_list("address", flat=True)
    assert {each.startswith(beginning) for each in ended} == {True}


def test_an_address_without_a_live_session_is_said() -> None:
    (key,) = opened_at("192.0.2.1")
    end_session(key)
    error, printed = failure("end_mcp_session", "--address", "192.0.2.1")
    assert (error.returncode, str(error)) == (1, "This address has no live session.")
    assert printed == "Ended 0 sessions.\n"


def test_sessions_are_named_in_one_way_only() -> None:
    (key,) = opened_at("192.0.2.1")
    for ways in ([key, "--address", "192.0.2.1"], ["--owner", "user:1", "--address", "192.0.2.1"]):
        error, _ = failure("end_mcp_session", *ways)
        assert error.returncode == 2
    assert Session.objects.get().ended_at is None


# -- rotate_mcp_session ----------------------------------------------------------------------


def test_ids_are_rotated_and_not_shown() -> None:
    (first_id, first), (_, second), unknown = opened(), opened(), new_session_id()
    Session.objects.filter(key=second.key).update(metadata={"dialect": "specification"})
    error, printed = failure("rotate_mcp_session", first_id, second.key, unknown, "--json")
    assert json.loads(printed) == {"rotated": [1], "ended": [], "refused": [2], "not_found": [3]}
    told = f"The client of {second.key} cannot learn another id. With --end, such a session is ended."
    assert (error.returncode, str(error)) == (1, told)
    digests = dict(Session.objects.values_list("key", "digest"))
    assert digests[first.key] != first.digest and digests[second.key] == second.digest
    _, printed = failure("rotate_mcp_session", second.key, unknown)
    why = "1 unchanged, because the client cannot learn another id, 1 not found"
    assert printed == f"Rotated 0, ended 0 of 2: {why}.\n"
    assert command("rotate_mcp_session", second.key, "--end") == "Rotated 0, ended 1 of 1.\n"
    assert Session.objects.get(key=second.key).end_reason == EndReason.ROTATED


# -- clear_mcp_sessions ----------------------------------------------------------------------


def over(count: int) -> None:
    run_out(*[opened()[1].key for _ in range(count)])


def test_what_is_over_is_deleted() -> None:
    _, live = opened()
    over(2)
    assert json.loads(command("clear_mcp_sessions", "--json")) == {"deleted": 2}
    assert command("clear_mcp_sessions") == "Deleted 0 sessions.\n"
    over(1)
    assert command("clear_mcp_sessions") == "Deleted 1 session.\n"
    assert [session.key for session in Session.objects.all()] == [live.key]


def test_a_terminal_is_shown_how_far_it_is(settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "PURGE_BATCH": 2}
    over(3)
    terminal = Terminal()
    call_command("clear_mcp_sessions", stdout=io.StringIO(), stderr=terminal, no_color=True)
    drawn = terminal.getvalue()
    assert drawn.endswith("\n")
    assert [step.split()[-1] for step in drawn.strip().split("\r") if step] == ["0/3", "2/3", "3/3", "3/3"]
    assert " 100% " in drawn


@pytest.mark.parametrize(("out", "verbosity"), [(io.StringIO, 1), (Terminal, 0)])
def test_nobody_else_is(out: type[io.StringIO], verbosity: int) -> None:
    over(1)
    stderr = out()
    call_command("clear_mcp_sessions", stdout=io.StringIO(), stderr=stderr, verbosity=verbosity)
    assert stderr.getvalue() == ""


# -- mcp_session_stats -----------------------------------------------------------------------


def test_the_last_hour_is_counted() -> None:
    (_, ended), _ = opened(), opened()
    end_session(ended.key, "audit")
    stats = json.loads(command("mcp_session_stats", "--json"))
    assert (stats["total_sessions"], stats["ended_sessions"], stats["live_sessions"]) == (2, 1, 1)
    assert stats["connection_patterns"]["by_end_reason"] == {"audit": 1}
    assert set(stats) == set(SessionStatistics.__annotations__)
    since, until = (datetime.fromisoformat(stats[name]) for name in ("since", "until"))
    assert until - since == timedelta(hours=1)
    lines = command("mcp_session_stats").splitlines()
    assert "  opened        2" in lines
    assert "  ended         1 (audit: 1)" in lines
    assert "  clients       till 1.2: 2" in lines
    assert "  live now      1, 1 of them seen in the last 5 minutes" in lines


def test_of_another_time_and_of_one_endpoint() -> None:
    _, session = opened()
    Session.objects.update(created_at=session.created_at - timedelta(minutes=100))

    def counted(*arguments: str) -> int:
        return int(json.loads(command("mcp_session_stats", "--json", *arguments))["total_sessions"])

    assert [counted("--timeframe", time) for time in ("90m", "2h", "1d")] == [0, 1, 1]
    assert [counted("--timeframe", "2h", "--server", path) for path in ("/mcp", "/other")] == [1, 0]


def test_where_nothing_happened_there_are_no_figures() -> None:
    lines = command("mcp_session_stats").splitlines()
    assert "  opened        0" in lines
    assert "  duration      - on average" in lines


@pytest.mark.parametrize("text", ["", "1", "h", "0h", "-1h", "1.5h", "1w", "99999h"])
def test_what_is_no_timeframe_is_said(text: str) -> None:
    error, _ = failure("mcp_session_stats", f"--timeframe={text}")
    assert f"{text!r} is no timeframe" in str(error)


# -- all of them -----------------------------------------------------------------------------

COMMANDS: Final = [
    ["clear_mcp_sessions"],
    ["inspect_mcp_session", new_key()],
    ["end_mcp_session", new_key()],
    ["rotate_mcp_session", new_key()],
    ["mcp_session_stats"],
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_store_that_is_away_is_said(settings: Any, arguments: list[str]) -> None:
    backend = "mcp_sessions.stores.redis.RedisSessionStore"
    url = f"redis://127.0.0.1:{free_port()}/0"
    store = {"BACKEND": backend, "OPTIONS": {"url": url}}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": store}
    error, printed = failure(*arguments)
    assert (error.returncode, printed) == (3, "")
    assert str(error).startswith("The session store cannot be reached")


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
def test_a_store_that_no_other_process_reaches_is_said(settings: Any, arguments: list[str]) -> None:
    """Above all the rows of its sessions are left alone, about which this process knows nothing."""
    over(1)
    store = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": store}
    error, _ = failure(*arguments)
    assert error.returncode == 3
    assert "in the memory of the server's process" in str(error)
    assert Session.objects.get().ended_at is None


# -- docs/operations.md ----------------------------------------------------------------------

PAGE: Final = (ROOT / "docs/operations.md").read_text()


def test_every_command_and_every_task_is_documented() -> None:
    there = {file.stem for file in (ROOT / "mcp_sessions/management/commands").glob("[a-z]*.py")}
    assert set(re.findall(r"^\| `(\w+)[^|`]*` \| ", PAGE, re.MULTILINE)) == there
    documented = dict(re.findall(r"^\| `([\w-]+)`, `([\w.]+)` \|", PAGE, re.MULTILINE))
    assert documented == {name: entry["task"] for name, entry in beat_schedule().items()}


def test_its_examples(capsys: pytest.CaptureFixture[str]) -> None:
    _, session = opened()
    names: dict[str, Any] = {"app": Celery("project"), "session": session}
    for example in re.findall(r"<!-- tested: \w+ -->\n```python\n(.*?)```", PAGE, re.DOTALL):
        exec(example, names)
    assert names["app"].conf.beat_schedule == beat_schedule()
    assert capsys.readouterr().out == "live 0 0 {}\n"


def test_its_crontab_line_runs_a_command_that_is_silent() -> None:
    [arguments] = re.findall(r"manage\.py (clear.*)$", PAGE, re.MULTILINE)
    over(1)
    assert command(*arguments.split()) == ""
    assert not Session.objects.exists()
