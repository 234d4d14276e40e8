"""Resources that only one test knows, and what a client does with them."""

from __future__ import annotations

from uuid import uuid4

from tests.e2e.workers.reading import next_message
from tests.harness.wire import RawSession, Response, answer


def new_uri() -> str:
    return f"board://{uuid4().hex}"


async def subscribe(session: RawSession, *uris: str) -> None:
    for uri in uris:
        async with session.post(session.message("resources/subscribe", {"uri": uri})) as response:
            assert "result" in await answer(response)


async def next_updated(response: Response) -> str:
    message = (await next_message(response)).json()
    assert message["method"] == "notifications/resources/updated"
    uri: str = message["params"]["uri"]
    return uri
