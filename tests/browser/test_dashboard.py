"""The dashboard in a browser: live over several processes, with and without Redis."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, Request, expect

from mcp_sessions.admin.feed import MAX_STREAMS
from tests.browser.conftest import NAME, PASSWORD, PREPARE_OPERATOR, Play, key_of
from tests.e2e.conftest import started
from tests.harness.cluster import Cluster
from tests.harness.databases import postgres_database
from tests.harness.server import Kind, ServerProcess
from tests.harness.services import POSTGRES, REDIS, needed
from tests.harness.wire import RawSession, Response, request

PATH: Final = "/admin/mcp_sessions/session/dashboard/"
MODES: Final[dict[str, tuple[str | None, Kind]]] = {
    "postgresql": (None, "uvicorn"),
    "postgresql+redis": (REDIS, "daphne"),
}
LATE: Final = 120_000
"""Milliseconds after which something that is awaited has not happened."""
# An hour less than the page looks back: none is too old before it is counted.
FILL: Final = "from tests.browser.lively import fill; fill(300, 23)"
SHOWN: Final = """() => {
    const panel = document.querySelector('[data-panel="growth"]');
    const rows = [...panel.querySelectorAll("tbody tr td:nth-child(2)")].map(each => each.textContent);
    const tile = document.querySelector('[data-tile="opened"]').textContent;
    return [tile, rows, panel.querySelector("canvas").checkVisibility()];
}"""
"""How many sessions were opened, as the tile and the table of the chart say, and whether there is a chart."""
NOTHING: Final = {
    "until": "2026-01-01T00:00:00Z",
    "tiles": {
        **dict.fromkeys(("live", "active", "opened", "ended", "peak"), 0),
        **dict.fromkeys(("average", "p50", "p95")),
    },
    **{name: [] for name in ("growth", "clients", "revisions", "reasons", "events")},
    "durations": {"p50": None},
    "refused": {"steps": [], "reasons": []},
    "last_refusals": [],
    "hours": [0] * 24,
    "weekdays": [0] * 7,
}


async def log_in(page: Page, server: ServerProcess, query: str) -> None:
    await page.goto(f"{server.origin}{PATH}{query}")
    await page.get_by_label("Username").fill(NAME)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"**{PATH}{query}")


async def becomes(page: Page, state: str) -> None:
    await expect(page.locator("#mcp-state")).to_have_attribute("data-state", state, timeout=LATE)


def event(page: Page, kind: str, key: str) -> Any:
    return page.locator(f'#mcp-events li[data-name="{kind} {key}"]')


def tile(page: Page, name: str) -> Any:
    return page.locator(f'[data-tile="{name}"]')


# -- several processes -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(browser: Browser) -> Iterator[str]:
    needed(POSTGRES, "PostgreSQL")
    with postgres_database(POSTGRES, PREPARE_OPERATOR) as url:
        yield url


@pytest.fixture(scope="module", params=MODES)
def cluster(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Two processes on PostgreSQL that cannot hear each other, or hear each other by Redis."""
    redis_url, kind = MODES[request.param]
    if redis_url:
        needed(REDIS, "Redis")
    cluster = Cluster(
        tmp_path_factory.mktemp("dashboard"),
        2,
        database_url=database,
        redis_url=redis_url,
        kind=kind,
        server="tests.e2e.servers.guide:server",
        settings="tests.browser.settings",
    )
    started.extend(cluster.workers)
    with cluster:
        yield cluster


@pytest.fixture
def watching(browser: Browser, cluster: Cluster, play: Play) -> Iterator[Page]:
    """The dashboard, open at the first process."""

    async def begin() -> Page:
        context = await browser.new_context()
        context.set_default_timeout(LATE)
        page = await context.new_page()
        await log_in(page, cluster[0], "?timeframe=hour")
        await becomes(page, "live")
        await page.evaluate("window.isTheSamePage = true")
        return page

    page = play(begin())
    yield page
    play(page.context.close())


def test_what_happens_elsewhere_appears_without_a_reload(
    watching: Page, cluster: Cluster, play: Play
) -> None:
    async def scenario() -> None:
        before = int(await tile(watching, "live").inner_text())
        client = await RawSession.open(cluster[1].url)
        key = await key_of(client)
        opened = event(watching, "opened", key)
        await expect(opened).to_contain_text("raw 1", timeout=LATE)
        assert await opened.get_by_role("link").inner_text() == f"{key[:10]}…"
        await expect(tile(watching, "live")).to_have_text(str(before + 1), timeout=LATE)
        assert await client.delete() == 204
        await expect(event(watching, "ended", key)).to_contain_text("by its client", timeout=LATE)
        await expect(tile(watching, "live")).to_have_text(str(before), timeout=LATE)
        assert await event(watching, "opened", key).count() == 1
        assert await watching.evaluate("window.isTheSamePage")
        await opened.get_by_role("link").click()
        await expect(watching.locator("#content")).to_contain_text(key)

    play(scenario())


def test_closed_pages_leave_nothing_behind(watching: Page, cluster: Cluster, play: Play) -> None:
    """A process has room for some; whether they leave or are cut off, there is room again."""

    async def scenario() -> None:
        cookies = await watching.context.cookies()
        headers = {"Cookie": "; ".join(f"{each['name']}={each['value']}" for each in cookies)}

        def one_more() -> Any:
            return request("GET", f"{cluster[0].origin}{PATH}events/", headers)

        async def status() -> int:
            async with one_more() as response:
                return response.status

        async def fill_up(stack: AsyncExitStack) -> list[Response]:
            open_ones: list[Response] = []
            while (response := await stack.enter_async_context(one_more())).status == 200:
                await response.next_event()
                open_ones.append(response)
            return open_ones

        async with AsyncExitStack() as stack:
            open_ones = await fill_up(stack)
            assert len(open_ones) == MAX_STREAMS - 1
            for response in open_ones[::2]:
                response.cut()
        async with asyncio.timeout(LATE / 1000):
            while await status() != 200:
                await asyncio.sleep(0.1)
            # Every place is free again.
            while True:
                async with AsyncExitStack() as stack:
                    if len(await fill_up(stack)) == MAX_STREAMS - 1:
                        break

    play(scenario())


def test_a_page_comes_back_after_a_deploy(watching: Page, cluster: Cluster, play: Play) -> None:
    """An open page does not keep its process from stopping, and needs nobody to reload it."""

    async def scenario() -> None:
        await asyncio.to_thread(cluster[0].stop)
        await becomes(watching, "reconnecting")
        # Nobody told this page of it.
        client = await RawSession.open(cluster[1].url)
        key = await key_of(client)
        await cluster[0].start_beside()
        await becomes(watching, "live")
        await expect(event(watching, "opened", key)).to_be_visible(timeout=LATE)
        await client.delete()
        await expect(event(watching, "ended", key)).to_be_visible(timeout=LATE)
        assert await watching.evaluate("window.isTheSamePage")

    play(scenario())


# -- one process -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lively(server: ServerProcess) -> ServerProcess:
    server.manage("shell", "--verbosity", "0", "--command", FILL)
    return server


def test_another_timeframe(page: Page, lively: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        await page.goto(f"{lively.origin}{PATH}")
        opened = {}
        for name in ("Last hour", "24 hours", "7 days", "30 days"):
            await page.get_by_role("link", name=name).click()
            await expect(page.get_by_role("link", name=name)).to_have_attribute("aria-current", "page")
            await page.wait_for_load_state()
            # All at one moment: the page refreshes itself.
            tile, rows, is_drawn = await page.evaluate(SHOWN)
            opened[name] = int(tile)
            assert is_drawn is (opened[name] > 0)
            assert sum(map(int, rows)) == opened[name]
        assert opened["Last hour"] < opened["24 hours"] == opened["7 days"] == opened["30 days"]

    play(scenario())


def test_charts_follow_the_theme(page: Page, lively: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        async def colors() -> Any:
            chart = "Chart.getChart(document.querySelector('[data-panel=growth] canvas'))"
            return await page.evaluate(f"{chart}.data.datasets.map(each => each.backgroundColor)")

        await page.goto(f"{lively.origin}{PATH}")
        light = await colors()
        await page.emulate_media(color_scheme="dark")
        await page.wait_for_function(
            "before => Chart.getChart(document.querySelector('[data-panel=growth] canvas'))"
            ".data.datasets[0].backgroundColor !== before",
            arg=light[0],
        )
        dark = await colors()
        # The admin's own toggle: from the system's theme to light.
        await page.evaluate("document.documentElement.dataset.theme = 'light'")
        await page.wait_for_function(
            "before => Chart.getChart(document.querySelector('[data-panel=growth] canvas'))"
            ".data.datasets[0].backgroundColor === before",
            arg=light[0],
        )
        assert len({*light, *dark}) == 4

    play(scenario())


def test_it_fits_a_telephone(page: Page, lively: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        await page.set_viewport_size({"width": 375, "height": 700})
        await page.goto(f"{lively.origin}{PATH}")
        await expect(page.locator("#mcp-events li").first).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == 375
        for panel in await page.locator(".mcp-panel, .mcp-tiles > div").all():
            box = await panel.bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 375

    play(scenario())


def test_where_nothing_has_happened_it_says_so(page: Page, server: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        await page.route("**/figures/**", lambda route: route.fulfill(json=NOTHING))
        await page.goto(f"{server.origin}{PATH}")
        await expect(tile(page, "peak")).to_have_text("0", timeout=LATE)
        for panel in await page.locator("[data-panel]").all():
            await expect(panel.get_by_text(re.compile("^No (session|request)"))).to_be_visible()
            await expect(panel.locator("canvas")).to_be_hidden()

    play(scenario())


def test_a_page_that_nobody_looks_at_has_no_stream(page: Page, lively: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        async def hide(is_hidden: bool) -> None:
            await page.evaluate(
                "value => Object.defineProperty(document, 'hidden', {configurable: true, value})", is_hidden
            )
            await page.evaluate("() => document.dispatchEvent(new Event('visibilitychange')) && undefined")

        def is_stream(sent: Request) -> bool:
            return sent.url.endswith("/events/")

        await page.goto(f"{lively.origin}{PATH}")
        await becomes(page, "live")
        async with page.expect_event("requestfailed", is_stream):
            await hide(True)
        async with page.expect_event("response", lambda response: is_stream(response.request)):
            await hide(False)
        await becomes(page, "live")

    play(scenario())


def test_whoever_has_logged_out_is_told(page: Page, lively: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        # Not the fixture's page: browsers log what is refused as errors.
        opened = await page.context.new_page()
        await opened.goto(f"{lively.origin}{PATH}")
        await becomes(opened, "live")
        await opened.context.clear_cookies()
        # As if they came back to the tab.
        await opened.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await becomes(opened, "out")

    play(scenario())
