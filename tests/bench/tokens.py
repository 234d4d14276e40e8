"""What a bearer token adds to a call: CPU of the server, with a JWT that it has verified, and without."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psutil

from tests.harness.issuer import Issuer
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, answer

PATH: Final = "/tokens"
RESOURCE: Final = "https://bench.example/tokens"
ROUNDS: Final = 5
ENOUGH: Final = 0.00015
"""Seconds of CPU that a JWT may add to a call."""


def endpoint(issuer: Issuer, server: str) -> Mapping[str, Any]:
    """The entry in SERVERS of the endpoint that takes this issuer's tokens."""
    tokens = {
        "BACKEND": "mcp_sessions.security.authentication.JSONWebTokens",
        "OPTIONS": {"issuer": issuer.url},
    }
    return {PATH: {"SERVER": server, "AUTHENTICATORS": [tokens], "RESOURCE_URL": RESOURCE}}


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU of one call."""

    anonymous: float
    with_token: float
    added: float


async def cost_of(server: ServerProcess, issuer: Issuer, calls: int) -> Cost:
    """In turns, since a machine is not always equally quick: the medians of the rounds."""
    token = {"Authorization": f"Bearer {issuer.token(aud=RESOURCE)}"}
    anonymous, known = await opened(server.url, {}), await opened(server.at(PATH).url, token)
    process, rounds = psutil.Process(server.pid), list[tuple[float, float]]()
    for _ in range(ROUNDS):
        plain = await cpu(process, anonymous, {}, calls)
        rounds.append((plain, await cpu(process, known, token, calls)))
    assert issuer.requests["/keys"] == 1, "the token was to be verified once"
    without, by_token = zip(*rounds, strict=True)
    added = statistics.median(b - a for a, b in rounds)
    return Cost(statistics.median(without), statistics.median(by_token), added)


async def opened(url: str, headers: Mapping[str, str]) -> RawSession:
    session = RawSession(url)
    client = {"name": "bench", "version": "1"}
    params = {"protocolVersion": session.version, "capabilities": {}, "clientInfo": client}
    async with session.post(session.message("initialize", params), **headers) as response:
        assert response.status == 200, await response.body()
        session.session_id = response.headers["mcp-session-id"]
    return session


async def cpu(process: psutil.Process, session: RawSession, headers: Mapping[str, str], calls: int) -> float:
    began = used(process)
    for _ in range(calls):
        async with session.post(session.tool_call("echo", {"text": "a"}), **headers) as response:
            said = await answer(response)
        assert said["result"]["content"][0]["text"] == "a", said
    return (used(process) - began) / calls


def used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
