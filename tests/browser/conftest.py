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

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.async_api import Browser, Page, StorageState, expect

from tests.e2e.conftest import pytest_runtest_makereport, started
from tests.e2e.test_guide_dialect import GuideStream
from tests.harness.browsing import Play
from tests.harness.databases import PREPARE, sqlite_url
from tests.harness.running import BROWSER_DEADLINE
from tests.harness.server import ServerProcess, manage
from tests.harness.wire import RawSession

__all__ = ["Play", "key_of", "pytest_runtest_makereport"]

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
