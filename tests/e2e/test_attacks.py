"""What attackers try, as clients would: through the mount and the view, on one worker and on two.

Source: the specification's pages on security (session hijacking, event injection, token passthrough), and
"Authorization".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.conftest import started
from tests.harness.cluster import Cluster
from tests.harness.databases import SQLiteTemplate
from tests.harness.modern import META, MODERN
from tests.harness.running import run
from tests.harness.sse import Event
from tests.harness.wire import Response, request

TOKENS: Final = {name: f"{name}-token-0123456789-abcdefgh" for name in ("ann", "ben")}
AUTHENTICATION: Final = "mcp_sessions.security.authentication"
PAGE: Final = "https://app.example"
STATIC_TOKENS: Final = {
    "BACKEND": f"{AUTHENTICATION}.StaticTokens",
    "OPTIONS": {"tokens": {name: sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}},
}
# Tools with handles, for those with a token and for those without.
HANDLES: Final = {
    "SERVER": "tests.baskets:server",
    "REVISIONS": ["2026-07-28"],
    "AUTHENTICATORS": [STATIC_TOKENS, f"{AUTHENTICATION}.AllowAnonymous"],
}
# Sessions that an id and its token do not open by themselves.
BOUND: Final = {
    "SERVER": "tests.e2e.servers.workers:server",
    "SESSION_BINDING": {"user_agent": "reject"},
    "ROTATION_GRACE_SECONDS": 300,
}
OPTIONS: Final = {
    # What a heartbeat would find must be told at once.
    "HEARTBEAT_SECONDS": 3600,
    "POLL_SECONDS": 0.05,
    "ALLOWED_ORIGINS": [PAGE],
    "AUTHENTICATORS": [
        STATIC_TOKENS,
        f"{AUTHENTICATION}.DjangoSessions",
    ],
    "SERVERS": {
        "/view": {"SERVER": "tests.e2e.servers.workers:server", "POST_THROUGH_DJANGO": True},
        "/other": "tests.e2e.servers.workers:server",
        "/bound": BOUND,
        "/bound-view": {**BOUND, "POST_THROUGH_DJANGO": True},
        "/baskets": HANDLES,
        "/baskets-view": {**HANDLES, "POST_THROUGH_DJANGO": True},
    },
}
LOG_IN: Final = """
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client
user, _ = get_user_model().objects.update_or_create(username={name!r}, defaults={{"is_active": True}})
browser = Client()
browser.force_login(user)
print(browser.cookies[settings.SESSION_COOKIE_NAME].value)
"""
PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
INITIALIZE: Final[dict[str, Any]] = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "attacker", "version": "1"},
    },
}
CALL: Final[dict[str, Any]] = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "tools/call",
    "params": {"name": "echo", "arguments": {"text": "x"}},
}
REPLY: Final = {"jsonrpc": "2.0", "id": "anything", "result": {"action": "accept"}}
CANCELLATION: Final = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
EVENTS: Final = {"Accept": "text/event-stream"}


def modern_call(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    envelope = {f"{META}/protocolVersion": MODERN, f"{META}/clientCapabilities": {}}
    params = {"name": tool, "arguments": dict(arguments), "_meta": envelope}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def reason(self) -> str:
        return str(json.loads(self.body)["error"]["data"]["reason"])


@dataclass
class Target:
    """What is attacked. Who speaks to it one request after the other comes to another worker each time."""

    cluster: Cluster
    path: str

    def url(self, worker: int = 0, query: str = "") -> str:
        return f"{self.cluster[worker % len(self.cluster)].origin}{self.path}{query}"

    async def send(
        self, method: str, headers: Mapping[str, str], message: Any = None, worker: int = 0, query: str = ""
    ) -> Answer:
        body = None if message is None else json.dumps(message).encode()
        told = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **headers,
        }
        async with request(method, self.url(worker, query), told, body) as response:
            return Answer(response.status, response.headers, await response.body())

    async def open(self, headers: Mapping[str, str], capabilities: Mapping[str, Any] | None = None) -> str:
        params = {**INITIALIZE["params"], "capabilities": dict(capabilities or {})}
        answer = await self.send("POST", headers, {**INITIALIZE, "params": params})
        assert answer.status == 200, answer
        return answer.headers["mcp-session-id"]

    async def use(
        self, headers: Mapping[str, str], tool: str, handle: str | None = None, worker: int = 0
    ) -> Answer:
        """Call a tool as a client of 2026-07-28."""
        arguments = {"sku": "tea"} if tool == "add" else {}
        message = modern_call(tool, arguments if handle is None else {**arguments, "session": handle})
        told = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": tool, **headers}
        answer = await self.send("POST", told, message, worker)
        assert answer.status == 200, answer
        return Answer(answer.status, {}, answer.body)

    async def open_handle(self, headers: Mapping[str, str]) -> str:
        answer = await self.use(headers, "open_session")
        return str(json.loads(answer.body)["result"]["structuredContent"]["session"])

    @asynccontextmanager
    async def posted(self, headers: Mapping[str, str], message: Any) -> AsyncIterator[Response]:
        """The reply to a POST, as it comes."""
        told = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **headers,
        }
        async with request("POST", self.url(), told, json.dumps(message).encode()) as response:
            yield response

    @asynccontextmanager
    async def stream(
        self, headers: Mapping[str, str], worker: int = 0, query: str = ""
    ) -> AsyncIterator[Response]:
        async with request("GET", self.url(worker, query), {**EVENTS, **headers}) as response:
            yield response

    async def manage(self, *arguments: str) -> str:
        return await asyncio.to_thread(self.cluster[0].manage, *arguments)

    async def log_in(self, name: str) -> dict[str, str]:
        """The headers that a page of ours has a browser send."""
        key = (await self.manage("shell", "-v0", "-c", LOG_IN.format(name=name))).strip()
        return {"Cookie": f"sessionid={key}", "Origin": PAGE}


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def cluster(
    request: pytest.FixtureRequest, template: SQLiteTemplate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    folder: Path = tmp_path_factory.mktemp("attacks")
    made = Cluster(
        folder,
        request.param,
        database_url=template.copy(),
        options=OPTIONS,
        server="tests.e2e.servers.workers:server",
    )
    started.extend(made.workers)
    with made:
        yield made


@pytest.fixture(params=["/mcp", "/view"], ids=["mount", "view"])
def target(request: pytest.FixtureRequest, cluster: Cluster) -> Target:
    return Target(cluster, request.param)


def by(name: str, session_id: str | None = None) -> dict[str, str]:
    known = {"Authorization": f"Bearer {TOKENS[name]}"}
    return known if session_id is None else {**known, "Mcp-Session-Id": session_id}


def unknown_like(session_id: str) -> str:
    return "Q" * len(session_id)


async def read_to_the_end(response: Response) -> list[Event]:
    return [event async for event in response.events() if event.event != "heartbeat"]


def test_a_stolen_session_id_opens_nothing(target: Target) -> None:
    """Session hijacking, and injection: a request, a reply, a cancellation, a DELETE, at every worker."""

    async def scenario() -> None:
        stolen = await target.open(by("ann"))
        for worker in range(len(target.cluster)):
            for message in (PING, CALL, REPLY, CANCELLATION, INITIALIZE):
                known = await target.send("POST", by("ben", stolen), message, worker)
                unknown = await target.send("POST", by("ben", unknown_like(stolen)), message, worker)
                assert (known.status, known.body) == (404, unknown.body)
            known = await target.send("DELETE", by("ben", stolen), None, worker)
            unknown = await target.send("DELETE", by("ben", unknown_like(stolen)), None, worker)
            assert (known.status, known.body) == (404, unknown.body)
            async with target.stream(by("ben", stolen), worker) as response:
                assert (response.status, await response.body()) == (404, unknown.body)
        assert (await target.send("POST", by("ann", stolen), PING, 1)).status == 200

    run(scenario())


def test_a_session_id_is_no_credential(target: Target) -> None:
    async def scenario() -> None:
        stolen = await target.open(by("ann"))
        for headers in ({}, {"Authorization": "Bearer nobody-0123456789"}, {"Cookie": "sessionid=nobody"}):
            answer = await target.send("POST", {**headers, "Mcp-Session-Id": stolen}, PING)
            assert answer.status == 401 and answer.headers["www-authenticate"].startswith("Bearer")
            answer = await target.send("DELETE", {**headers, "X-Session-ID": stolen})
            assert answer.status == 401
        for query in (f"?session_id={stolen}", f"?sse_session={stolen}"):
            assert (await target.send("POST", {}, PING, query=query)).status == 401

    run(scenario())


@pytest.mark.parametrize("path", ["/bound", "/bound-view"])
def test_an_id_with_its_token_is_of_no_use_elsewhere(cluster: Cluster, path: str) -> None:
    """Session hijacking by who has the token, too: the session is bound to what it was opened with."""

    async def scenario() -> None:
        target, here, there = Target(cluster, path), {"User-Agent": "desktop"}, {"User-Agent": "another"}
        stolen = await target.open({**by("ann"), **here})
        for worker in range(len(cluster)):
            for method, message in (
                ("POST", CALL),
                ("POST", REPLY),
                ("POST", CANCELLATION),
                ("DELETE", None),
            ):
                known = await target.send(method, {**by("ann", stolen), **there}, message, worker)
                unknown = await target.send(
                    method, {**by("ann", unknown_like(stolen)), **there}, message, worker
                )
                assert (known.status, known.body) == (404, unknown.body)
            async with target.stream({**by("ann", stolen), **there}, worker) as response:
                assert response.status == 404
        assert (await target.send("POST", {**by("ann", stolen), **here}, PING, 1)).status == 200

    run(scenario())


@pytest.mark.parametrize("path", ["/bound", "/bound-view"])
def test_a_stolen_id_is_worth_nothing_once_it_is_rotated(cluster: Cluster, path: str) -> None:
    """Twice: the id before the last is valid for the grace."""

    async def scenario() -> None:
        target = Target(cluster, path)
        async with target.stream(by("ann")) as stream:
            new = stolen = (await stream.next_event()).json()["session_id"]
            for _ in range(2):
                await target.manage("rotate_mcp_session", new)
                while (event := await stream.next_event()).event != "session-rotated":
                    pass
                new = event.json()["session_id"]
            for worker in range(len(cluster)):
                for method, message in (("POST", CALL), ("POST", REPLY), ("DELETE", None)):
                    known = await target.send(method, by("ann", stolen), message, worker)
                    unknown = await target.send(method, by("ann", unknown_like(stolen)), message, worker)
                    assert (known.status, known.body) == (404, unknown.body)
                assert (await target.send("POST", by("ann", new), PING, worker)).status == 200

    run(scenario())


def test_ids_are_never_a_clients_choice(target: Target) -> None:
    """Fixation: who could choose the id of somebody else's session would know it."""

    async def scenario() -> None:
        chosen = unknown_like(await target.open(by("ann")))
        assert (await target.send("POST", by("ann", chosen), INITIALIZE)).status == 404
        assert (await target.send("POST", by("ann", chosen), PING)).status == 404
        async with target.stream(by("ann"), query=f"?session_id={chosen}") as response:
            names = [event.event for event in await read_to_the_end(response)]
        assert names == ["session-expired", "error"]
        assert (await target.send("POST", by("ann", chosen), PING, 1)).status == 404

    run(scenario())


def test_nobody_resumes_somebody_elses_stream(target: Target) -> None:
    """Event ids are sent around in clear: with one of Ann's, Ben has nothing."""

    async def scenario() -> None:
        async with target.stream(by("ann")) as stream:
            first = await stream.next_event()
            event_id, session_id = str(first.id), first.json()["session_id"]
            for worker in range(len(target.cluster)):
                stealing = {**by("ben"), "Last-Event-ID": event_id}
                async with target.stream(stealing, worker) as response:
                    body = await response.body()
                assert b"session-resumed" not in body and session_id.encode() not in body
                async with target.stream({**stealing, "Mcp-Session-Id": session_id}, worker) as response:
                    assert b"session-resumed" not in await response.body()

    run(scenario())


def test_a_message_for_somebody_elses_session_reaches_nobody(target: Target) -> None:
    """Event injection: Ben knows the ids of Ann's session, of her request, and of the server's to her."""

    async def scenario() -> None:
        ann = by("ann", await target.open(by("ann"), {"elicitation": {}}))
        ben = by("ben", await target.open(by("ben"), {"elicitation": {}}))
        asking = {**CALL, "params": {"name": "ask", "arguments": {"question": "Who?"}}}
        async with (
            target.stream(ann, 1) as stream,
            target.posted(ann, asking) as call,
        ):
            asked = (await next_message(call))["id"]
            told = {"action": "accept", "content": {"name": "Ben"}}
            injected = [
                {"jsonrpc": "2.0", "id": asked, "result": told},
                {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": CALL["id"]}},
                {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"},
            ]
            for worker in range(len(target.cluster)):
                for message in injected:
                    stolen = {**ben, "Mcp-Session-Id": ann["Mcp-Session-Id"]}
                    assert (await target.send("POST", stolen, message, worker)).status == 404
                    # In his own session the same ids are his own.
                    assert (await target.send("POST", ben, message, worker)).status in {202, 400, 404}
            answer = {"jsonrpc": "2.0", "id": asked, "result": {**told, "content": {"name": "Ann"}}}
            assert (await target.send("POST", ann, answer, 1)).status == 202
            result = (await next_message(call))["result"]
            assert json.loads(result["content"][0]["text"])["content"] == {"name": "Ann"}
            assert (await target.send("DELETE", ann)).status in {200, 204}
            assert not [event for event in await read_to_the_end(stream) if event.is_message]

    run(scenario())


async def next_message(response: Response) -> Any:
    while not (event := await response.next_event()).is_message:
        pass
    return event.json()


@pytest.mark.parametrize("path", ["/baskets", "/baskets-view"])
def test_a_handle_is_of_use_to_nobody_else(cluster: Cluster, path: str) -> None:
    """Handle hijacking, in 2026-07-28: a handle is in results that others may read."""

    async def scenario() -> None:
        target = Target(cluster, path)
        anns, nobodys = await target.open_handle(by("ann")), await target.open_handle({})
        for worker in range(len(cluster)):
            for thief, stolen in ((by("ben"), anns), ({}, anns), (by("ben"), nobodys), (by("ann"), nobodys)):
                for tool in ("add", "count", "end_session"):
                    known = await target.use(thief, tool, stolen, worker)
                    assert known == await target.use(thief, tool, unknown_like(stolen), worker)
                    assert b'"isError":true' in known.body
        for owner, handle in ((by("ann"), anns), ({}, nobodys)):
            told = await target.use(owner, "count", handle, 1)
            assert json.loads(told.body)["result"]["structuredContent"] == {"result": 0}

    run(scenario())


def test_a_session_of_one_endpoint_is_unknown_at_another(target: Target) -> None:
    async def scenario() -> None:
        session_id = await target.open(by("ann"))
        other = Target(target.cluster, "/other")
        known = await other.send("POST", by("ann", session_id), PING, 1)
        unknown = await other.send("POST", by("ann", unknown_like(session_id)), PING, 1)
        assert (known.status, known.body) == (404, unknown.body)

    run(scenario())


def test_no_token_comes_in_a_url_or_twice(target: Target) -> None:
    """URLs land in logs; and who sends two credentials tries which of them is looked at."""

    async def scenario() -> None:
        answer = await target.send("POST", {}, INITIALIZE, query=f"?access_token={TOKENS['ann']}")
        assert (answer.status, answer.reason) == (400, "invalid_request")
        both = {"Authorization": f"Bearer {TOKENS['ann']}, Bearer {TOKENS['ben']}"}
        assert (await target.send("POST", both, INITIALIZE)).status == 400
        for worker in target.cluster.workers:
            assert TOKENS["ann"] not in worker.log()

    run(scenario())


def test_a_page_of_another_site_uses_nobodys_login(target: Target) -> None:
    """Cross-site requests: the browser adds the cookie by itself."""

    async def scenario() -> None:
        own = await target.log_in("carol")
        session_id = await target.open(own)
        cookie = {"Cookie": own["Cookie"], "Mcp-Session-Id": session_id}
        for origin in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
            for method, message in (("POST", CALL), ("POST", INITIALIZE), ("DELETE", None)):
                answer = await target.send(method, {**cookie, **origin}, message)
                assert (answer.status, answer.reason) == (403, "origin" if origin else "csrf")
        async with target.stream({"Cookie": own["Cookie"], "Sec-Fetch-Site": "cross-site"}) as response:
            assert response.status == 403
        assert (await target.send("POST", {**own, "Mcp-Session-Id": session_id}, PING, 1)).status == 200

    run(scenario())


def test_another_sites_name_is_not_served(cluster: Cluster) -> None:
    """DNS rebinding: the page's site has its name resolve to this server. At the view, Django answers."""

    async def scenario() -> None:
        target = Target(cluster, "/mcp")
        answer = await target.send("POST", {**by("ann"), "Host": "evil.example"}, INITIALIZE)
        assert (answer.status, answer.reason) == (421, "host")

    run(scenario())


DORA: Final = "from django.contrib.auth.models import User; user = User.objects.get(username='dora'); "


@pytest.mark.parametrize("change", ["user.is_active = False; user.save()", "user.delete()"])
def test_who_is_gone_loses_streams_and_sessions_at_every_worker(target: Target, change: str) -> None:
    """By a process that serves nobody, as an operator's or the company's directory's would be."""

    async def scenario() -> None:
        own = await target.log_in("dora")
        here = {**own, "Mcp-Session-Id": await target.open(own)}
        async with target.stream(here, 0) as first, target.stream(here, 1) as second:
            assert first.status == second.status == 200
            await target.manage("shell", "-v0", "-c", DORA + change)
            for stream in (first, second):
                await read_to_the_end(stream)
        for worker in range(len(target.cluster)):
            assert (await target.send("POST", here, PING, worker)).status == 401

    run(scenario())


def test_an_operator_ends_all_that_one_owner_has(target: Target) -> None:
    async def scenario() -> None:
        own = await target.log_in("emma")
        mine = [await target.open(own), await target.open(own)]
        others = await target.open(by("ben"))
        async with target.stream({**own, "Mcp-Session-Id": mine[0]}, 1) as stream:
            said = await target.manage("end_mcp_session", "--user", "emma", "--reason", "stolen laptop")
            assert said.strip() == "Ended 2 sessions."
            await read_to_the_end(stream)
        for session_id in mine:
            assert (await target.send("POST", {**own, "Mcp-Session-Id": session_id}, PING, 1)).status == 404
        assert (await target.send("POST", by("ben", others), PING, 1)).status == 200

    run(scenario())
