"""The stream of a call that is over is read once more: it must be what it was."""

from __future__ import annotations

import asyncio

from tests.harness.wire import Response
from tests.soak.attempt import Attempt, Sent
from tests.soak.link import REST_SECONDS
from tests.soak.model import Kind, Violation, judge_replay
from tests.soak.scene import BROKEN


async def read_again(attempt: Attempt) -> None:
    """From its first event on, through one worker after the other until one gives it whole."""
    while True:
        try:
            async with attempt.link.get(next(attempt.route), attempt.first_id) as response:
                if await _judge(attempt, response):
                    return
        except BROKEN:
            pass
        await asyncio.sleep(REST_SECONDS)


async def _judge(attempt: Attempt, response: Response) -> bool:
    """False if this worker has nothing to say about it."""
    scene, who = attempt.scene, attempt.seen.who
    if response.status == 503 or (response.status == 404 and attempt.link.is_ending):
        return response.status == 404
    if response.status != 200:
        what = f"its stream is not there any more: {response.status} {await response.body()!r}"
        scene.note([Violation(Kind.LOST, who, what)])
        return True
    events = [event async for event in response.events()]
    if events and events[-1].retry is not None:
        return False  # a stopping worker says when to come back
    again: list[Sent] = [(event.id, event.data) for event in events if event.is_message]
    scene.tally["replays"] += 1
    scene.note(judge_replay(who, attempt.replayable, again))
    return True
