"""One suite for the entry points, and which of them a test runs through (see `tests/README.md`).

| mark | entry points | for what |
|---|---|---|
| none | mount | what `protocol.endpoint.handle` decides, or anything below it |
| `every_door` | all | what an entry point does itself: paths, headers, bodies, addresses, statuses |
| `either_loop` | mount, view-wsgi | what depends on whose loop runs the calls: the server's, or a thread's |
| `streaming` | django, mount | how a streamed reply reaches a client, and a client that leaves |
| `on_mount` | mount | what the mount alone has, such as GET streams |
| `through_django` | django, view-wsgi | what the view alone does |
| `under_wsgi` | view-wsgi | what is different where no reply can be a stream |

The entry points turn a request into an `Exchange` and a reply into bytes. What lies between is one
function, so a test of it runs once. Each feature has one test marked `every_door`, which fails when
an entry point does not offer that feature.

"view" and "django" are the same view: "django" is behind Django's own ASGI handler, "view" behind the
test client that projects use for their tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.doors.client import McpClient
from tests.doors.doors import Door, open_door

pytestmark = pytest.mark.django_db(transaction=True)


def doors(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("door", names, indirect=True)


every_door = doors("view", "django", "view-wsgi", "mount")
either_loop = doors("mount", "view-wsgi")
streaming = doors("django", "mount")
on_mount = doors("mount")
through_django = doors("django", "view-wsgi")
under_wsgi = doors("view-wsgi")

OpenClient = Callable[..., Awaitable[McpClient]]


@pytest.fixture(params=["mount"])
async def door(request: pytest.FixtureRequest, process: None) -> AsyncIterator[Door]:
    """The mount, unless a mark of this module names other entry points."""
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
