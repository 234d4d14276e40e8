"""What is sent is served, and each thing that must hold is noticed when it does not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from mcp_sessions import jsonrpc
from mcp_sessions.conf import AppSettings
from mcp_sessions.protocol import answers, endpoint
from mcp_sessions.security.authentication import static
from tests.fuzz.seeds import BOTH, JSON, ME, OWN, SEEDS, call, message, request_of, text
from tests.fuzz.target import CANARY, Request, Target


def asked(body: Any, *headers: str, line: str = "POST /mcp") -> Request:
    request = request_of(text(body, ME, JSON, BOTH, *headers, line=line))
    assert request is not None
    return request


def test_every_seed_is_served(target: Target) -> None:
    statuses = [target.send(request)[0] for seed in SEEDS if (request := request_of(seed)) is not None]
    assert len(statuses) == len(SEEDS)
    assert set(statuses) == {200, 202, 204, 400, 401, 404}
    target.renew()


def test_tools_are_called(target: Target) -> None:
    """Fuzzing that reaches no tool would find nothing there."""
    _, body = target.send(asked(call("echo", {"text": "a"}), OWN))
    assert json.loads(body)["result"]["content"][0]["text"] == "a"
    status, body = target.send(asked(call("report", {}, progressToken="t"), OWN))
    assert (status, body.count(b"event: message")) == (200, 2)


def test_what_is_no_request_is_passed_over() -> None:
    for data in (b"", b"\n\n", b"PUT /mcp\n\n", b"POST /other\n\n", b"\xff"):
        assert request_of(data) is None
    request = request_of(b"POST /mcp?a=b\nX-Y: z\nbroken\nno name\xff: x\n\nbody\n\nmore")
    assert request == Request("POST", "/mcp", "a=b", [("X-Y", "z"), ("broken", "")], b"body\n\nmore")


def test_a_fault_of_ours_is_noticed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(value: Any) -> Any:
        raise KeyError(value)

    monkeypatch.setattr(jsonrpc, "parse", fail)
    with pytest.raises(AssertionError):
        target.send(asked(message("ping"), OWN))


def test_an_error_that_is_logged_is_noticed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*told: Any) -> Any:
        answers.logger.error("a fault that nobody answers for")
        return made(*told)

    made = endpoint.refusal
    monkeypatch.setattr(endpoint, "refusal", refuse)
    with pytest.raises(AssertionError, match="nobody answers for"):
        target.send(asked("", line="DELETE /mcp"))


def test_an_owner_who_is_not_checked_is_noticed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = asked(call("recall", {}), "Mcp-Session-Id: $STRANGER")
    assert target.send(stranger)[0] == 404
    me = static.StaticTokens.authenticate

    async def anybody(authenticator: Any, exchange: Any) -> Any:
        found = await me(authenticator, exchange)
        return found and replace(found, subject="stranger")

    monkeypatch.setattr(static.StaticTokens, "authenticate", anybody)
    with pytest.raises(AssertionError, match=CANARY):
        target.send(stranger)


def test_what_is_left_behind_is_noticed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep(*_: Any) -> None:
        """Ends nothing."""

    target.send(asked(call("report", {}, progressToken="t"), OWN))
    with monkeypatch.context() as patched:
        patched.setattr("tests.fuzz.target.end", keep)
        with pytest.raises(AssertionError):
            target.renew()
    target.renew()


def test_a_request_that_hangs_is_noticed(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(endpoint, "limit_address", hang)
    monkeypatch.setattr("tests.fuzz.target.SECONDS", 0.05)
    with pytest.raises(TimeoutError):
        target.send(asked(message("ping"), OWN))


def test_the_bounds_of_what_is_fuzzed_are_soon_reached(target: Target) -> None:
    options = AppSettings("/mcp")
    assert target.send(asked("x" * (options.MAX_BODY_BYTES + 1)))[0] == 413
    assert target.send(asked("", f"X-Long: {'x' * options.MAX_HEADER_BYTES}"))[0] == 431
