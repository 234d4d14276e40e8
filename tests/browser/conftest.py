"""One server, one browser and one operator for the tests of this folder.

Tests are plain functions. Their clients, and the browser's pages, live on one loop, which runs while
a test has it play something:

    def test_a_session_is_listed(page: Page, server: ServerProcess, play: Play) -> None:
        async def scenario() -> None:
            client = await RawSession.open(server.url)  # or `async with guide_session(server)`
            key = await key_of(client)
            await page.goto(f"{server.origin}/admin/mcp_sessions/session/")
            assert key in await page.content()

        play(scenario())

The server and its database are every test's: look for your own sessions, by their keys.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, StorageState, async_playwright, expect

from tests.e2e.conftest import pytest_runtest_makereport, started
from tests.e2e.test_guide_browser import ARGUMENTS
from tests.e2e.test_guide_dialect import GuideStream
from tests.harness.databases import PREPARE, sqlite_url
from tests.harness.running import BROWSER_DEADLINE, DEADLINE
from tests.harness.server import ServerProcess, manage
from tests.harness.services import unavailable
from tests.harness.wire import RawSession

__all__ = ["Play", "key_of", "pytest_runtest_makereport"]

Play = Callable[[Coroutine[Any, Any, Any]], Any]
"""Run a scenario on the browser's loop, with an end; what it returns."""

NAME: Final = "operator"
PASSWORD: Final = "only for tests"
PREPARE_OPERATOR: Final = f"""{PREPARE}
from django.contrib.auth.models import Permission, User
operator = User.objects.create_user("{NAME}", password="{PASSWORD}", is_staff=True)
operator.user_permissions.set(Permission.objects.filter(content_type__app_label="mcp_sessions"))
"""


# Its own five seconds a busy machine may take.
expect.set_options(timeout=BROWSER_DEADLINE)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The example project under uvicorn, on SQLite, with an operator who has every permission of the app."""
    folder = tmp_path_factory.mktemp("browser")
    url = sqlite_url(folder / "db.sqlite3")
    manage("shell", "--verbosity", "0", "--command", PREPARE_OPERATOR, env={"DATABASE_URL": url})
    served = ServerProcess(
        folder, database_url=url, server="tests.e2e.servers.guide:server", settings="tests.browser.settings"
    )
    with served:
        started.append(served)
        yield served
    assert not served.tracebacks()


@pytest.fixture(scope="session")
def play() -> Iterator[Play]:
    # Whoever uses the browser while no scenario runs finds no loop, and not this one by chance: after
    # a test that is a coroutine it would be gone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:

        async def bounded(scenario: Coroutine[Any, Any, Any]) -> Any:
            async with asyncio.timeout(DEADLINE):
                return await scenario

        yield lambda scenario: runner.run(bounded(scenario))


@pytest.fixture(scope="session")
def browser(play: Play) -> Iterator[Browser]:
    found = shutil.which("chromium")
    if found is None:
        unavailable("chromium is not installed: the admin is not looked at in a browser.")
    starting = async_playwright()
    playwright = play(starting.start())
    browser = play(
        playwright.chromium.launch(executable_path=found, args=ARGUMENTS, timeout=BROWSER_DEADLINE)
    )
    yield browser
    play(browser.close())
    play(playwright.stop())


@pytest.fixture(scope="session")
def login(server: ServerProcess, browser: Browser, play: Play) -> StorageState:
    """The cookies of the operator, who has come by the admin's own form."""

    async def log_in() -> StorageState:
        context = await browser.new_context()
        context.set_default_timeout(BROWSER_DEADLINE)
        page = await context.new_page()
        await page.goto(f"{server.origin}/admin/login/")
        await page.get_by_label("Username").fill(NAME)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        await page.wait_for_url("**/admin/")
        state = await context.storage_state()
        await context.close()
        return state

    state: StorageState = play(log_in())
    return state


@pytest.fixture
def page(browser: Browser, login: StorageState, play: Play) -> Iterator[Page]:
    """A page of the operator's, in light mode. Whatever it could not load or run fails the test."""
    problems: list[str] = []

    async def open_page() -> Page:
        context = await browser.new_context(storage_state=login, color_scheme="light")
        context.set_default_timeout(BROWSER_DEADLINE)
        opened = await context.new_page()
        opened.on("pageerror", lambda error: problems.append(str(error)))
        opened.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        return opened

    opened: Page = play(open_page())
    yield opened
    play(opened.context.close())
    assert not problems, problems


async def key_of(client: RawSession | GuideStream) -> str:
    """The public name of a client's session."""
    answer = await client.call("session_key", {})
    return str(answer["result"]["content"][0]["text"])
