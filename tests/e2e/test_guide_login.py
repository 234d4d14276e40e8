"""A page that has an anonymous session logs in to Django: the session is the user's then, by another id."""

from __future__ import annotations

import json
from typing import Final

from playwright.async_api import Browser

from tests.e2e.conftest import StartServer
from tests.e2e.test_guide_browser import open_page
from tests.harness.browsing import Play
from tests.harness.running import eventually
from tests.harness.wire import request as send

AUTHENTICATION: Final = "mcp_sessions.security.authentication"
OPTIONS: Final = {
    "AUTHENTICATORS": [f"{AUTHENTICATION}.DjangoSessions", f"{AUTHENTICATION}.AllowAnonymous"],
}
MAKE_ANN: Final = (
    "from django.contrib.auth.models import User; User.objects.create_superuser('ann', password='secret')"
)
LOG_IN: Final = """async id => {
    const page = await (await fetch("/admin/login/")).text();
    const [, token] = page.match(/name="csrfmiddlewaretoken" value="([^"]+)"/);
    const body = new URLSearchParams({username: "ann", password: "secret", csrfmiddlewaretoken: token});
    const headers = {"X-Session-ID": id};
    return (await fetch("/admin/login/?next=/guide/", {method: "POST", body, headers})).url;
}"""


def test_the_session_is_the_users_and_the_browser_goes_on(
    browser: Browser, start_server: StartServer, play: Play
) -> None:
    server = start_server(
        server="tests.e2e.servers.guide:server",
        settings="tests.e2e.guide.settings",
        env={"E2E_MCP_SESSIONS": json.dumps(OPTIONS)},
    )
    server.manage("shell", "--verbosity", "0", "--command", MAKE_ANN)

    async def status(session_id: str) -> int:
        """What somebody else gets who has the id."""
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "X-Session-ID": session_id,
        }
        async with send("POST", server.url, headers, json.dumps(body).encode()) as response:
            return response.status

    async def scenario() -> None:
        async with open_page(browser, server) as page:
            old = await page.session_id()
            key = await page.call("session_key", {})
            assert await status(old) == 200
            assert (await page.page.evaluate(LOG_IN, old)).endswith("/guide/")
            await eventually(lambda: page.times_said("Session established:") == 2)
            new = await page.page.evaluate("sessionId")
            # Its stream was closed, and is resumed with the cookie.
            assert await page.hears("Resumed session:") == new != old
            assert "search_tickets" in await page.list_tools()
            assert (await page.sent[-1].all_headers())["x-session-id"] == new
            assert [await status(each) for each in (old, new)] == [404, 404]
            found = json.loads(server.manage("inspect_mcp_session", key, "--json"))
            assert found["owner"].startswith("user:")
            assert await page.called() == []

    play(scenario())
