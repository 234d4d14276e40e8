"""Tools, resources and prompts that require scopes or permissions: in lists, in calls, in every revision."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from django.contrib.auth.models import User

from tests.doors.client import McpClient, call, request, text_of
from tests.doors.conftest import on_mount
from tests.doors.doors import Door, Response
from tests.doors.test_modern import modern, post
from tests.doors.test_server_auth import bearer, challenge, client
from tests.permitted import used
from tests.process import rows

pytestmark = [pytest.mark.django_db(transaction=True), on_mount]

AUTHENTICATORS: Final = ["tests.guarded.verifier", "tests.guarded.UserNames"]
"""Tokens "ann-1" (read) and "ann-2" (read, write). "ann" and "ben" are Django's users, None is anonymous."""
REQUIRES: Final = {"tools": {"delete_*": {"scopes": ["delete"]}, "inner_delete_*": {"scopes": ["delete"]}}}
BOTH: Final = ("/sdk", "/fast")
EVERYBODY: Final = ("ann-1", "ann-2", "ann", "ben", None)


@pytest.fixture(autouse=True)
def served(settings: Any) -> None:
    options = {
        "AUTHENTICATORS": AUTHENTICATORS,
        "REQUIRES": REQUIRES,
    }
    names = ("sdk", "fast", "mounted", "low")
    served = {f"/{name}": {"SERVER": f"tests.permitted:{name}", **options} for name in names}
    secret = {"resources": {"page://secret*": {"permissions": ["auth.delete_user"]}}}
    for name in ("pages", "fast_pages"):
        served[f"/{name}"] = {**options, "SERVER": f"tests.permitted:{name}", "REQUIRES": secret}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": served}
    used.clear()


@pytest.fixture
def door(served: None, door: Door) -> Door:
    return door


@pytest.fixture(autouse=True)
def people(transactional_db: None) -> None:
    User.objects.create_superuser("ann", password="x")
    User.objects.create_user("ben", password="x")


class Asking:
    """Asks in both eras, and sees that they agree."""

    def __init__(self, door: Door, path: str, who: str | None) -> None:
        self._door, self._path, self._who = door, path, who
        self._client: McpClient | None = None

    async def old(self, message: Any) -> Response:
        if self._client is None:
            self._client = await client(self._door, self._path, self._who).open()
        return await self._client.post(message)

    async def new(self, message: Any) -> Response:
        return await post(self._door, modern(message), path=self._path, **bearer(self._who))

    async def answer(self, message: Any) -> Any:
        """The answer of either era, if they agree."""
        old, new = [await read(each) for each in (await self.old(message), await self.new(message))]
        for key in ("resultType", "ttlMs", "cacheScope", "_meta"):
            for answer in (old, new):
                answer.get("result", {}).pop(key, None)
        assert old == new
        return old

    async def names(self, method: str, where: str, known_by: str = "name") -> set[str]:
        found = await self.answer(request(method))
        return {each[known_by] for each in found["result"][where]}

    async def denied(self, message: Any, status: int) -> str:
        """The challenge of either era, if they agree."""
        told = [await challenge(await ask(message), status) for ask in (self.old, self.new)]
        assert told[0] == told[1]
        return told[0]


async def read(response: Response) -> Any:
    if response.is_stream:
        return (await response.messages())[-1]
    return await response.json()


def asking(door: Door, path: str, who: str | None) -> Asking:
    return Asking(door, path, who)


MORE: Final = {"/sdk": {"report"}, "/fast": set(), "/mounted": set()}
"""What one server has and the other has not."""
TOOLS: Final = {
    "ann-1": {"look"},
    "ann-2": {"look", "change"},
    # Who has logged in has no scopes, and so lacks none.
    "ann": {"look", "change", "wipe", "audit", "delete_everything"},
    "ben": {"look", "change", "delete_everything"},
    None: {"look"},
}


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("who", EVERYBODY)
async def test_lists_have_what_their_reader_may_use(door: Door, path: str, who: str | None) -> None:
    ask = asking(door, path, who)
    own = {"fastmcps_own"} if path == "/fast" and who == "ann-2" else set()
    if path == "/sdk" and who == "ann":
        own = {"move"}
    assert await ask.names("tools/list", "tools") == TOOLS[who] | MORE[path] | own
    may_write, may_delete = who not in ("ann-1", None), who == "ann"
    uris = {"shop://open"} | ({"shop://ledger"} if may_write else set())
    assert await ask.names("resources/list", "resources", "uri") == uris
    templates = {"orders://{number}"} if may_delete else set()
    assert await ask.names("resources/templates/list", "resourceTemplates", "uriTemplate") == templates
    prompts = {"greet"} | ({"dismiss"} if may_delete else set())
    assert await ask.names("prompts/list", "prompts") == prompts


@pytest.mark.parametrize("path", BOTH)
async def test_a_call_that_is_permitted_is_served(door: Door, path: str) -> None:
    ann = asking(door, path, "ann")
    for tool, text in (("change", "changed"), ("wipe", "wiped"), ("audit", "audited")):
        assert text_of(await ann.answer(call(tool))) == text
    found = await ann.answer(request("resources/read", {"uri": "orders://7"}))
    assert found["result"]["contents"][0]["text"] == "order 7"
    found = await ann.answer(request("prompts/get", {"name": "dismiss"}))
    assert found["result"]["messages"][0]["content"]["text"] == "goodbye"


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize(
    ("message", "scopes"),
    [
        (call("change"), "write"),
        (call("delete_everything"), "delete"),
        (request("resources/read", {"uri": "shop://ledger"}), "write"),
    ],
)
async def test_a_scope_that_is_missing_is_403_before_anything_runs(
    door: Door, path: str, message: Any, scopes: str
) -> None:
    told = await asking(door, path, "ann-1").denied(message, 403)
    assert 'error="insufficient_scope"' in told and f'scope="{scopes}"' in told
    # Somebody anonymous may have a token to get.
    told = await asking(door, path, None).denied(message, 401)
    assert "error=" not in told and f'scope="{scopes}"' in told
    assert used == []


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("who", ["ben", "ann-2", None])
@pytest.mark.parametrize(
    ("there", "not_there"),
    [
        (call("wipe"), call("nope")),
        # Who lacks the permission does not learn of the scopes either.
        (call("audit"), call("nope")),
        (request("resources/read", {"uri": "orders://7"}), request("resources/read", {"uri": "nope://7"})),
        (request("prompts/get", {"name": "dismiss"}), request("prompts/get", {"name": "nope"})),
    ],
)
async def test_without_a_permission_a_component_is_not_there(
    door: Door, path: str, who: str | None, there: Any, not_there: Any
) -> None:
    ask = asking(door, path, who)
    told = json.dumps(await ask.answer(there))
    for name in ("wipe", "audit", "dismiss"):
        told = told.replace(name, "nope")
    assert told.replace("orders://7", "nope://7") == json.dumps(await ask.answer(not_there))
    assert used == []


async def test_the_headers_of_a_hidden_tool_are_not_checked(door: Door) -> None:
    """The SDK would say that one is missing, and so that the tool is there."""
    ann, ben = asking(door, "/sdk", "ann"), asking(door, "/sdk", "ben")
    moved = call("move", {"region": "north"})
    assert (await (await ann.new(moved)).json())["error"]["code"] == -32020
    unknown = await (await ben.new(call("nope", {"region": "north"}))).json()
    told = json.dumps(await (await ben.new(moved)).json())
    assert told.replace("move", "nope") == json.dumps(unknown)


async def test_a_batch_that_mixes_what_is_permitted_and_what_is_not_runs_nothing(door: Door) -> None:
    ann = await McpClient(door, path="/sdk", version="2025-03-26", more_headers=bearer("ann-1")).open()
    batch = [call("look", id=1), call("change", id=2), call("delete_everything", id=3)]
    told = await challenge(await ann.post(batch), 403)
    assert 'scope="delete write"' in told
    assert used == []
    answers = await (await ann.post([call("look", id=1), call("wipe", id=2)])).json()
    assert {each["id"]: each["result"].get("isError", False) for each in answers} == {1: False, 2: True}
    assert used == ["look"]


async def test_what_would_be_a_stream_is_denied_before_it_begins(door: Door, settings: Any) -> None:
    served = settings.MCP_SESSIONS["SERVERS"]
    entry = {**served["/sdk"], "REQUIRES": {"tools": {"report": {"scopes": ["write"]}}}}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SERVERS": {**served, "/sdk": entry}}
    await asking(door, "/sdk", "ann-1").denied(call("report", token="p"), 403)
    assert (await rows())["Stream"] == 0
    assert (await asking(door, "/sdk", "ann-2").old(call("report", token="p"))).is_stream


async def test_a_server_within_a_server_asks_too(door: Door) -> None:
    ann, ben = asking(door, "/mounted", "ann"), asking(door, "/mounted", "ben")
    assert await ben.names("tools/list", "tools") == {f"inner_{name}" for name in TOOLS["ben"]}
    assert text_of(await ann.answer(call("inner_wipe"))) == "wiped"
    unknown = json.dumps(await ben.answer(call("inner_nope")))
    assert json.dumps(await ben.answer(call("inner_wipe"))).replace("wipe", "nope") == unknown
    assert 'scope="delete"' in await asking(door, "/mounted", "ann-1").denied(
        call("inner_delete_everything"), 403
    )


async def test_a_low_level_server_is_asked_for_by_the_settings(door: Door) -> None:
    ask = asking(door, "/low", "ann-1")
    assert await ask.names("tools/list", "tools") == {"look"}
    await ask.denied(call("delete_everything"), 403)
    assert used == []
    assert await asking(door, "/low", "ann").names("tools/list", "tools") == {"look", "delete_everything"}


async def test_completion_and_subscription_tell_nothing(door: Door) -> None:
    ben, ann = await client(door, "/sdk", "ben").open(), await client(door, "/sdk", "ann").open()
    argument = {"name": "number", "value": ""}
    for ref in (
        {"type": "ref/prompt", "name": "dismiss"},
        {"type": "ref/resource", "uri": "orders://{number}"},
    ):
        asked = request("completion/complete", {"ref": ref, "argument": argument})
        assert (await ann.ask(asked))["result"]["completion"]["values"] == ["7"]
        assert (await ben.ask(asked))["result"]["completion"]["values"] == []
    subscribe = request("resources/subscribe", {"uri": "orders://7"})
    for somebody, count in ((ben, 0), (ann, 1)):
        assert (await somebody.ask(subscribe))["result"] == {}
        assert (await rows())["Subscription"] == count
    poor = await client(door, "/sdk", "ann-1").open()
    await challenge(await poor.post(request("resources/subscribe", {"uri": "shop://ledger"})), 403)


async def test_listening_to_a_resource_that_requires_a_scope_is_denied(door: Door) -> None:
    wanted = {"notifications": {"resourceSubscriptions": ["shop://open", "shop://ledger"]}}
    asked = modern(request("subscriptions/listen", wanted))
    await challenge(await post(door, asked, path="/sdk", **bearer("ann-1")), 403)


async def test_listening_to_a_resource_that_is_not_there_for_one_hears_nothing_of_it(door: Door) -> None:
    wanted = {"notifications": {"resourceSubscriptions": ["shop://open", "orders://7"]}}
    asked = modern(request("subscriptions/listen", wanted))
    stream = await post(door, asked, path="/sdk", **bearer("ben"))
    told = await stream.next_message()
    assert told["params"]["notifications"]["resourceSubscriptions"] == ["shop://open"]
    await stream.disconnect()


async def test_a_session_of_somebody_with_more_scopes_gives_none(door: Door) -> None:
    """What a request may do is decided by its own credential."""
    ann = await client(door, "/sdk", "ann-2").open()
    assert await ann.call("change") == "changed"
    ann.more_headers = bearer("ann-1")
    await challenge(await ann.post(call("change")), 403)
    assert used == ["change"]


async def test_fastmcps_own_checks_of_components_hold(door: Door) -> None:
    assert text_of(await asking(door, "/fast", "ann-2").answer(call("fastmcps_own"))) == "FastMCP's own"
    for who in ("ann-1", None):
        ask = asking(door, "/fast", who)
        unknown = json.dumps(await ask.answer(call("nope"))).replace("nope", "fastmcps_own")
        assert json.dumps(await ask.answer(call("fastmcps_own"))) == unknown


@pytest.mark.parametrize("path", ["/pages", "/fast_pages"])
async def test_a_uri_that_is_written_otherwise_is_the_same_resource(door: Door, path: str) -> None:
    """Server libraries decode what a template takes from a URI."""

    async def answer(who: str, uri: str) -> str:
        return json.dumps(await asking(door, path, who).answer(request("resources/read", {"uri": uri})))

    assert "page secret1" in await answer("ann", "page://%73ecret1")
    for uri in ("page://secret1", "page://%73ecret1", "page://%73%65cret1"):
        assert "page secret1" not in await answer("ben", uri)
    assert "page public" in await answer("ben", "page://%70ublic")
