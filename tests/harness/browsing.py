"""One browser for all tests of a process, and the loop that it lives on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.harness.running import BROWSER_DEADLINE, DEADLINE
from tests.harness.services import unavailable

if TYPE_CHECKING:
    from playwright.async_api import Browser

Play = Callable[[Coroutine[Any, Any, Any]], Any]
"""Run a scenario on the browser's loop, with an end; what it returns."""

ARGUMENTS: Final = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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
    """Chromium, with an empty profile that is deleted afterwards."""
    from playwright.async_api import async_playwright  # imported where a browser is needed

    found = shutil.which("chromium")
    if found is None:
        unavailable("chromium is not installed: nothing is looked at in a browser.")
    starting = async_playwright()
    playwright = play(starting.start())
    browser = play(
        playwright.chromium.launch(executable_path=found, args=ARGUMENTS, timeout=BROWSER_DEADLINE)
    )
    yield browser
    play(browser.close())
    play(playwright.stop())
