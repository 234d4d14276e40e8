"""One suite, every door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.doors.client import McpClient
from tests.doors.doors import AsgiDoor, Door, open_door

pytestmark = pytest.mark.django_db(transaction=True)

ALL = ("view", "django", "view-wsgi", "mount")
STREAMING = ("view", "django", "mount")
LEAVING = ("view", "django", "mount")

OpenClient = Callable[..., Awaitable[McpClient]]


@pytest.fixture(params=ALL)
async def door(request: pytest.FixtureRequest, process: None) -> AsyncIterator[Door]:
    """Every door; `doors(...)` on a test names those that it is for."""
    opened = open_door(request.param)
    yield opened
    await opened.close()


@pytest.fixture
async def mounted(process: None) -> AsyncIterator[AsgiDoor]:
    """The mount alone."""
    opened = open_door("mount")
    assert isinstance(opened, AsgiDoor)
    yield opened
    await opened.close()


@pytest.fixture
def connect(door: Door) -> OpenClient:
    """Open a session behind the door: `await connect(version=…, path=…, capabilities=…)`."""

    async def open_client(**options: Any) -> McpClient:
        handshake = {"capabilities": options.pop("capabilities")} if "capabilities" in options else {}
        return await McpClient(door, **options).open(**handshake)

    return open_client
