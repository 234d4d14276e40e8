"""Sessions in the admin, as an operator sees them in a browser, and what becomes of their clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page, expect

from tests.browser.conftest import Play, key_of
from tests.e2e.test_guide_dialect import GuideStream, guide_session
from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession, Response, answer

NARROW = {"width": 390, "height": 800}
WIDE = {"width": 1440, "height": 900}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
BACKGROUND = "element => getComputedStyle(element).backgroundColor"


async def to_list(page: Page, server: ServerProcess, query: str = "") -> None:
    await page.goto(f"{server.origin}/admin/mcp_sessions/session/{query}")


async def to_session(page: Page, server: ServerProcess, key: str) -> None:
    """By the search, and the link in the list."""
    await to_list(page, server)
    await page.locator("#searchbar").fill(key)
    await page.get_by_role("button", name="Search").click()
    await page.get_by_role("link", name=key[:8]).click()
    await expect(page.get_by_role("heading", name=key)).to_be_visible()


async def row_of(page: Page, key: str) -> dict[str, str]:
    """What the list says of a session, by the names of its columns."""
    row = page.locator("tbody tr", has=page.locator(f"code[title='{key}']"))
    await expect(row).to_be_visible()
    # It may be of a page that has come only in part.
    await page.wait_for_load_state()
    cells = await row.locator("td, th").all()
    return {str(await cell.get_attribute("class")).split()[0]: await cell.inner_text() for cell in cells}


@asynccontextmanager
async def running_call(client: RawSession) -> AsyncIterator[Response]:
    """A call that has sent something, and goes on until its session ends."""
    call = client.tool_call("export_report", {"steps": 1000, "delay": 0.5}, "report")
    async with client.post(call) as response:
        await response.next_event()
        yield response


@asynccontextmanager
async def busy_session(server: ServerProcess) -> AsyncIterator[tuple[RawSession, Response, Response]]:
    """A client with a call that runs and a stream that is open."""
    client = await RawSession.open(
        server.url, client={"name": "Busy", "version": "1.0"}, X_Forwarded_For="192.0.2.99"
    )
    await client.call("add_to_worklist", {"ticket_id": 3})
    async with running_call(client) as reply, client.get() as stream:
        yield client, reply, stream


def test_a_session_in_the_list_and_on_its_page(page: Page, server: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        async with busy_session(server) as (client, _, _):
            key = await key_of(client)
            await to_list(page, server, "?q=busy+192.0.2.99")
            row = await row_of(page, key)
            assert (row["field-client_name"], row["field-client_address"]) == ("Busy 1.0", "192.0.2.99")
            assert (row["field-state"], row["field-streams_open"], row["field-calls_running"]) == (
                "live",
                "1",
                "1",
            )
            await page.get_by_role("link", name=key[:8]).click()
            for text in ("call running", "connected", "notifications/progress", '"worklist"'):
                await expect(page.get_by_text(text).first).to_be_visible()
            assert client.session_id is not None
            assert client.session_id not in await page.content()
            await client.delete()
            await to_list(page, server, "?state=live")
            await expect(page.locator(f"code[title='{key}']")).to_have_count(0)
            await page.get_by_role("link", name="Ended", exact=True).click()
            assert (await row_of(page, key))["field-state"] == "ended"

    play(scenario())


def test_no_column_is_cut(page: Page, server: ServerProcess, play: Play) -> None:
    """However long a client's name and its address are."""

    async def scenario() -> None:
        client = await RawSession.open(
            server.url,
            client={"name": "A client with a name that is rather long", "version": "2026.11.29-nightly"},
            X_Forwarded_For="2001:db8:1111:2222:3333:4444:5555:6666",
        )
        await page.set_viewport_size(WIDE)
        await to_list(page, server)
        results = page.locator("#changelist .results")
        assert await results.evaluate("element => element.scrollWidth - element.clientWidth") == 0
        row = await row_of(page, await key_of(client))
        assert row["field-client_address"].startswith("2001:db8:")
        await client.delete()

    play(scenario())


async def box_of(page: Page, selector: str) -> dict[str, float]:
    box = await page.locator(selector).bounding_box()
    assert box is not None
    return {**box}


def test_the_list_has_the_whole_width_under_its_filters(
    page: Page, server: ServerProcess, play: Play
) -> None:
    """Which Django 5.2 and 6 hold by different elements."""

    async def scenario() -> None:
        client = await RawSession.open(server.url)
        await page.set_viewport_size(WIDE)
        await to_list(page, server)
        whole, filters, table = [
            await box_of(page, selector)
            for selector in ("#content-main", "#changelist-filter", "#result_list")
        ]
        assert table["width"] == filters["width"] == whole["width"]
        assert table["y"] > filters["y"] + filters["height"]
        assert await page.evaluate(OVERFLOW) == 0
        await client.delete()

    play(scenario())


def test_the_pages_have_their_tools_once_and_their_breadcrumbs(
    page: Page, server: ServerProcess, play: Play
) -> None:
    async def scenario() -> None:
        client = await RawSession.open(server.url)
        await to_session(page, server, await key_of(client))
        await expect(page.get_by_role("link", name="History")).to_have_count(1)
        shown = [await page.locator(".breadcrumbs").evaluate(BACKGROUND)]
        tools, title = await box_of(page, ".object-tools"), await box_of(page, "#content h1")
        assert tools["x"] > title["x"] + 200
        assert tools["y"] < (await box_of(page, ".mcp-facts"))["y"]
        await page.get_by_role("link", name="End", exact=True).click()
        await page.wait_for_url("**/end/")
        shown.append(await page.locator(".breadcrumbs").evaluate(BACKGROUND))
        await to_list(page, server, "dashboard/")
        shown.append(await page.locator(".breadcrumbs").evaluate(BACKGROUND))
        assert len(set(shown)) == 1
        await client.delete()

    play(scenario())


def test_a_session_is_found_by_its_id(page: Page, server: ServerProcess, play: Play) -> None:
    """Which is in no address that the browser had, and in no page."""

    async def scenario() -> None:
        client = await RawSession.open(server.url)
        key, session_id = await key_of(client), str(client.session_id)
        urls: list[str] = []
        page.on("request", lambda request: urls.append(request.url))
        await to_list(page, server)
        await page.get_by_label("Full session id").fill(session_id)
        await page.get_by_role("button", name="Find").click()
        await expect(page.get_by_role("heading", name=key)).to_be_visible()
        assert session_id not in await page.content()
        assert not any(session_id in url for url in urls)
        assert session_id not in server.log()
        await client.delete()

    play(scenario())


def test_a_session_is_ended(page: Page, server: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        async with busy_session(server) as (client, reply, stream):
            await to_session(page, server, await key_of(client))
            await page.get_by_role("link", name="End", exact=True).click()
            assert await client.status_of_ping() == 200
            await page.get_by_role("button", name="Yes, end it").click()
            await expect(page.get_by_text("1 session was ended.")).to_be_visible()
            await expect(page.locator(".mcp-facts .mcp-ended")).to_be_visible()
            assert await client.status_of_ping() == 404
            assert "error" in await answer(reply)
            assert [event async for event in stream.events() if event.is_message] == []
            assert stream.finished
            await page.get_by_role("link", name="History").click()
            await expect(page.get_by_text("Ended.")).to_be_visible()

    play(scenario())


def test_several_are_ended_from_the_list(page: Page, server: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        clients = [
            await RawSession.open(server.url, client={"name": "Several", "version": "1"}) for _ in range(3)
        ]
        await to_list(page, server, "?q=several&state=live")
        for client in clients[:2]:
            key = await key_of(client)
            await page.locator("tbody tr", has=page.locator(f"code[title='{key}']")).locator("input").check()
        await page.get_by_label("Action:").select_option("end_sessions")
        # Django 5.2 calls it Go, and Django 6 Run.
        await page.locator(".actions button[type=submit]").click()
        await page.get_by_role("button", name="Yes, end them").click()
        await expect(page.get_by_text("2 sessions were ended.")).to_be_visible()
        assert [await client.status_of_ping() for client in clients] == [404, 404, 200]
        await clients[2].delete()

    play(scenario())


def test_an_event_arrives_and_a_session_is_extended(page: Page, server: ServerProcess, play: Play) -> None:
    async def scenario() -> None:
        async with guide_session(server) as stream:
            await to_session(page, server, await key_of(stream))
            await page.get_by_role("link", name="Send event").click()
            await page.get_by_label("Name of the event").fill("order-shipped")
            await page.get_by_label("Data (JSON)").fill('{"order": 7}')
            await page.get_by_role("button", name="Send").click()
            await expect(page.get_by_text("The event was sent to 1 session.")).to_be_visible()
            assert await event_of(stream, "order-shipped") == {"order": 7}
            await expect(page.get_by_text('{"order":7}')).to_be_visible()
            await page.get_by_role("link", name="Extend").click()
            await page.get_by_label("Seconds from now").fill("7200")
            await page.get_by_role("button", name="Extend").click()
            await expect(page.get_by_text("1 session was extended.")).to_be_visible()
            await expect(page.get_by_text("in 1 h")).to_be_visible()

    play(scenario())


async def event_of(stream: GuideStream, name: str) -> Any:
    async for event in stream.response.events():
        if event.event == name:
            return event.json()
    raise AssertionError(f"The stream ended without {name}.")


def test_it_is_at_home_in_the_dark_and_on_a_narrow_screen(
    page: Page, server: ServerProcess, play: Play
) -> None:
    """Nothing is wider than the screen; what has a colour has another one in the dark."""

    async def scenario() -> None:
        async with busy_session(server) as (client, _, _):
            await to_session(page, server, await key_of(client))
            badge = page.locator(".mcp-facts .mcp-live")
            light = await badge.evaluate(BACKGROUND)
            await page.emulate_media(color_scheme="dark")
            assert await badge.evaluate(BACKGROUND) != light
            await page.set_viewport_size(NARROW)
            assert await page.evaluate(OVERFLOW) == 0
            end = page.get_by_role("link", name="End", exact=True)
            heading = page.get_by_role("heading", name=await key_of(client))
            top, above = await end.bounding_box(), await heading.bounding_box()
            assert top is not None and above is not None
            assert top["y"] >= above["y"] + above["height"]
            await end.click()
            await expect(page.get_by_role("button", name="Yes, end it")).to_be_visible()
            await page.wait_for_load_state()
            assert await page.evaluate(OVERFLOW) == 0
            await to_list(page, server)
            assert await page.evaluate(OVERFLOW) == 0
            await client.delete()

    play(scenario())
