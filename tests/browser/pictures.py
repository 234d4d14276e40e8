"""Takes the pictures of docs/images: python -m pytest tests/browser/pictures.py

Also, into the folder that PICTURES names, the same in the dark and on a narrow screen, to be looked at.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page

from tests.browser.conftest import Play, key_of
from tests.e2e.test_guide_dialect import guide_session
from tests.harness.server import ROOT, ServerProcess
from tests.harness.wire import RawSession

IMAGES: Final = ROOT / "docs/images"
WIDE: Final = {"width": 1440, "height": 820}
TALL: Final = {"width": 1440, "height": 1100}
NARROW: Final = {"width": 390, "height": 800}
# Name, version, address, owner, and minutes since it was opened and used.
CLIENTS: Final = [
    ("Cursor", "1.9.2", "198.51.100.23", "grace", 190, 44),
    ("VS Code", "1.106.0", "2001:db8:4::1a", "edsger", 122, 18),
    ("support-bot", "3.2", "203.0.113.80", "", 95, 1),
    ("Zed", "0.214", "198.51.100.7", "barbara", 61, 12),
    ("MCP Inspector", "0.17.2", "192.0.2.40", "ada", 33, 25),
    ("Cursor", "1.9.2", "198.51.100.31", "alan", 21, 4),
    ("support-bot", "3.2", "203.0.113.81", "", 9, 2),
    ("VS Code", "1.106.0", "192.0.2.15", "edsger", 6, 1),
]
# A day of it, for the dashboard: the session's page has its own sessions.
FILL: Final = "from tests.browser.lively import fill; fill(900, 24)"
REFUSE: Final = "from tests.browser.lively import refuse; refuse({key!r})"
SET_BACK: Final = """
UPDATE mcp_sessions_session SET owner = ?, requests = requests + ?,
  created_at = datetime(created_at, ?), last_accessed_at = datetime(last_accessed_at, ?)
WHERE key = ?
"""


async def open_some(server: ServerProcess, stack: AsyncExitStack) -> str:
    """A lively afternoon; the key of the session that has most to show."""
    aged = {}
    for name, version, address, *rest in CLIENTS:
        client = await RawSession.open(
            server.url, client={"name": name, "version": version}, X_Forwarded_For=address
        )
        aged[await key_of(client)] = rest
        if name == "support-bot":
            await stack.enter_async_context(client.get())
    guide = await stack.enter_async_context(guide_session(server))
    for text in ("Maintenance at ten", "Maintenance is over"):
        await guide.call("announce", {"event": "notice", "text": text})
    shown = await busy_session(server, stack)
    aged[shown] = ["ada", 2, 0]
    set_back(server, aged)
    server.manage("shell", "--verbosity", "0", "--command", REFUSE.format(key=shown))
    return shown


async def busy_session(server: ServerProcess, stack: AsyncExitStack) -> str:
    client = await RawSession.open(
        server.url,
        client={"name": "Claude Code", "version": "2.1.4"},
        capabilities={"elicitation": {}, "roots": {}},
        X_Forwarded_For="192.0.2.17",
        User_Agent="claude-code/2.1.4 (linux; x64)",
    )
    for ticket in (3, 7, 12):
        await client.call("add_to_worklist", {"ticket_id": ticket})
    for steps in (3, 40):
        call = client.tool_call(
            "export_report", {"steps": steps, "delay": 0.02 if steps == 3 else 1}, "report"
        )
        response = await stack.enter_async_context(client.post(call))
        for _ in range(4):
            await response.next_event()
    await stack.enter_async_context(client.get())
    return await key_of(client)


def set_back(server: ServerProcess, aged: dict[str, list[Any]]) -> None:
    """As if they had been opened and used a while ago, and by people who are known."""
    path = server.env["DATABASE_URL"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=20)) as connection, connection:
        for key, (owner, opened, used) in aged.items():
            ages = (f"-{opened} minutes", f"-{used} minutes")
            connection.execute(SET_BACK, (owner, opened // 3, *ages, key))


async def take(page: Page, name: str, folder: Path, **options: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=folder / f"{name}.png", **options)


def test_pictures(page: Page, server: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            key = await open_some(server, stack)
            await page.set_viewport_size(WIDE)
            await page.goto(f"{server.origin}/admin/mcp_sessions/session/")
            await take(page, "admin-sessions", IMAGES)
            urls = {"list": page.url}
            await page.locator(f"code[title='{key}']").click()
            await page.wait_for_selector(".mcp-facts")
            await page.set_viewport_size(TALL)
            await take(page, "admin-session", IMAGES)
            urls |= {"session": page.url}
            urls |= {name: page.url.replace("change", name) for name in ("end", "extend", "send")}
            urls |= {"refusals": f"{server.origin}/admin/mcp_sessions/refusalhour/"}
            await page.goto(urls["refusals"])
            await page.set_viewport_size({**WIDE, "height": 640})
            await take(page, "admin-refusals", IMAGES)
            server.manage("shell", "--verbosity", "0", "--command", FILL)
            urls |= {"dashboard": f"{urls['list']}dashboard/"}
            await page.goto(urls["dashboard"])
            await page.set_viewport_size({**WIDE, "height": 1140})
            await page.wait_for_selector("#mcp-state[data-state=live]")
            await take(page, "admin-dashboard", IMAGES)
            await page.locator("[data-panel=refused]").screenshot(path=IMAGES / "dashboard-refusals.png")
            if "PICTURES" in os.environ:
                await look_around(page, urls, Path(os.environ["PICTURES"]))

    play(asyncio.wait_for(scenario(), 400))


async def look_around(page: Page, urls: dict[str, str], folder: Path) -> None:
    for name, url in urls.items():
        await page.goto(url)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)
            for width, size in (("wide", WIDE), ("narrow", NARROW)):
                await page.set_viewport_size(size)
                await take(page, f"{name}-{scheme}-{width}", folder, full_page=True)
