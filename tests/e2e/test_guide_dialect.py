"""The guide's dialect from the outside: the exact bytes that come back to its clients.

The transcripts are in guide/*.http: one for each client-side snippet of the guide (Establishing a
Session, Using Session ID in Requests, Session Resumption, SSE Session Events, Troubleshooting 1),
and the rest for what the project promises beyond them (docs/guide.md).
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from tests.e2e.conftest import StartServer
from tests.e2e.guide.transcripts import FOLDER, Player
from tests.harness.running import run
from tests.harness.server import KINDS, Kind, ServerProcess

TRANSCRIPTS: Final = sorted(path.stem for path in FOLDER.glob("*.http"))
SERVED: Final[dict[str, Any]] = {
    "server": "tests.e2e.servers.guide:server",
    "settings": "tests.e2e.guide.settings",
}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, start_server: StartServer) -> ServerProcess:
    return start_server(kind=request.param, **SERVED)


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_every_byte_is_as_in_the_transcript(name: str, server: ServerProcess) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            await Player(server, stack).play(name)

    run(scenario())
