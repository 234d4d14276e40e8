"""One suite, every door."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.doors.client import McpClient
from tests.doors.doors import Door, open_door

pytestmark = pytest.mark.django_db(transaction=True)

ALL = ("view", "django", "view-wsgi", "mount")
streaming = pytest.mark.parametrize("door", ["view", "django", "mount"], indirect=True)
"""For the doors that can answer by a stream."""
on_mount = pytest.mark.parametrize("door", ["mount"], indirect=True)
"""For what the mount alone has: GET streams."""

OpenClient = Callable[..., Awaitable[McpClient]]


@pytest.fixture(params=ALL)
async def door(request: pytest.FixtureRequest, process: None) -> AsyncIterator[Door]:
    """Every door, unless the test names those that it is for."""
    opened = open_door(request.param)
    yield opened
    await opened.close()


@pytest.fixture
def connect(door: Door) -> OpenClient:
    """Open a session behind the door: `await connect(version=…, path=…, capabilities=…)`."""

    async def open_client(**options: Any) -> McpClient:
        handshake = {"capabilities": options.pop("capabilities")} if "capabilities" in options else {}
        return await McpClient(door, **options).open(**handshake)

    return open_client
