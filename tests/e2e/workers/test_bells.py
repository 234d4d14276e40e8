"""What goes over the channel layer: that something has happened, and nothing that opens a session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio

from tests.e2e.test_guide_dialect import guide_session
from tests.e2e.workers.conftest import Workers
from tests.e2e.workers.gates import Gates
from tests.e2e.workers.reading import guide_stream, next_message, next_named
from tests.harness.cluster import through
from tests.harness.running import eventually, run
from tests.harness.services import REDIS
from tests.harness.wire import RawSession, answer


@contextlib.asynccontextmanager
async def overheard() -> AsyncIterator[list[bytes]]:
    """Whatever anybody publishes meanwhile."""
    heard: list[bytes] = []
    async with redis.asyncio.Redis.from_url(REDIS) as client, client.pubsub() as pubsub:
        await pubsub.psubscribe("*")
        assert (await pubsub.get_message(timeout=30))["type"] == "psubscribe"

        async def listen() -> None:
            async for message in pubsub.listen():
                heard.append(message["channel"] + b" " + message["data"])

        listening = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


def test_no_bell_has_an_id_that_opens_a_session(workers: Workers, gates: Gates) -> None:
    async def scenario() -> None:
        here, there = workers
        async with overheard() as heard:
            session = await RawSession.open(here.url, capabilities={"elicitation": {}})
            elsewhere = through(session, there)
            key = await session_key(session)
            async with session.post(session.tool_call("ask", {"question": "Who?"})) as response:
                asked = (await next_message(response)).json()
                answered: dict[str, Any] = {"action": "accept", "content": {"name": "a name in an answer"}}
                await elsewhere.reply(asked["id"], answered)
                await answer(response)
            async with session.get() as standing:
                await elsewhere.call("say", {"texts": ["a text in a message"]})
                await next_message(standing)
                await elsewhere.delete()
            async with guide_session(here) as guide, guide_stream(guide, there) as stream:
                await guide.call("announce", {"event": "note", "text": "a text in an event"})
                await next_named(stream)
            # What is looked for is there at all: bells name sessions by what opens nothing.
            await eventually(lambda: any(key.encode() in each for each in heard))
        secrets = [str(session.session_id), guide.session_id, "a name in", "a text in"]
        assert not [each for each in heard for secret in secrets if secret.encode() in each]

    run(scenario())


def test_a_call_that_is_answered_at_once_rings_no_bell(workers: Workers) -> None:
    """Nor is anybody told of a session that opens: what concerns nobody else costs nobody anything."""

    async def scenario() -> None:
        here, there = workers
        async with overheard() as heard:
            session = await RawSession.open(here.url)
            key = await session_key(session)
            for at in (session, through(session, there)):
                for n in range(5):
                    await at.call("echo", {"text": f"{n}"})
            before = rung_for(heard, key)
            # The end of a session is rung, and comes after whatever was rung before it.
            await session.delete()
            await eventually(lambda: bool(rung_for(heard, key)))
        assert before == [] and len(rung_for(heard, key)) == 1

    run(scenario())


def rung_for(heard: list[bytes], key: str) -> list[bytes]:
    return [each for each in heard if key.encode() in each]


async def session_key(session: RawSession) -> str:
    key: str = (await session.call("session_key"))["result"]["content"][0]["text"]
    return key
