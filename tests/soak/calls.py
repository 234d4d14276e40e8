"""A call of a simulated client, with as many attempts as it takes, and the verdict on it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import cycle

from tests.soak.attempt import Attempt
from tests.soak.batches import BatchAttempt
from tests.soak.link import REST_SECONDS, Link
from tests.soak.model import Kind, MessagesSeen, Violation
from tests.soak.replay import read_again
from tests.soak.schedule import Batch, Call


async def perform(link: Link, step: Call | Batch, messages: MessagesSeen) -> None:
    """The call until it is over: a client whose request was lost before anything came asks again."""
    first = step if isinstance(step, Call) else step.calls[0]
    route, cuts = cycle(first.route), iter(first.cuts)
    link.scene.tally["calls"] += 1 if isinstance(step, Call) else len(step.calls)
    link.scene.tally["batches"] += isinstance(step, Batch)
    while not await settle(_attempt(link, step, route, cuts), messages):
        link.scene.tally["retried"] += 1
        await asyncio.sleep(REST_SECONDS)


def _attempt(link: Link, step: Call | Batch, route: Iterator[int], cuts: Iterator[int]) -> Attempt:
    if isinstance(step, Call):
        return Attempt(link, step, route, cuts)
    return BatchAttempt(link, step.calls, route, cuts)


async def settle(attempt: Attempt, messages: MessagesSeen, *, cancels: bool = True) -> bool:
    """Carry out one attempt and judge it; False if it came to nothing, as it may."""
    scene, seen = attempt.scene, attempt.seen
    if attempt.call.tool in ("announce", "tell"):
        messages.tried[attempt.request_id] = attempt.call.count
    is_in_time = await attempt.patience.lasts(attempt.run(cancels=cancels))
    if is_in_time and not attempt.is_over:
        is_explained = attempt.was_cut or attempt.was_refused or attempt.excuses.worker_was_hit
        if not is_explained and not attempt.link.is_ending:
            scene.note([Violation(Kind.WRONG, seen.who, "was cut off by a worker that was well")])
        return attempt.link.is_ending
    scene.note(attempt.judge())
    for each in seen.answers[:1]:
        if "error" in each and not attempt.was_cancelled:
            scene.tally["ended with their worker"] += 1
        if "result" in each and attempt.request_id in messages.tried:
            messages.sent[attempt.request_id] = attempt.call.count
    if is_in_time and attempt.call.is_replayed and attempt.first_id and not attempt.link.is_ending:
        await scene.patience().lasts(read_again(attempt))
    return True
