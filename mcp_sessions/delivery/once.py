"""Calls that happen once, over all processes: claimed, waited for, settled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from mcp_sessions.conf import app_settings
from mcp_sessions.delivery.hub import get_hub
from mcp_sessions.delivery.retry import PAUSES, with_retry
from mcp_sessions.exceptions import InvalidSessionData, SessionEnded, StoreUnavailable
from mcp_sessions.records import BEATS, Claim, Claimed
from mcp_sessions.runtime import current
from mcp_sessions.stores import get_store

logger = logging.getLogger("mcp_sessions.delivery")

T = TypeVar("T")

WAITS: Final = "a call that happens once waits"


async def claim_or_wait(claim: Claim, limit: int | None) -> Claimed | None:
    """Claim a call, or wait for its outcome as long as another runs it; None at the limit (see Store.claim).

    Raises SessionEnded, and StoreUnavailable if the store stays away.
    """
    changed = asyncio.Event()
    forget = get_hub().topics.subscribe(_topic_of(claim), lambda _: changed.set())
    try:
        while (found := await _attempt(claim, limit)) == Claimed():
            with suppress(TimeoutError):
                # Nobody tells of a worker that dies.
                async with asyncio.timeout(app_settings.WORKER_TIMEOUT / BEATS):
                    await changed.wait()
            changed.clear()
        return found
    finally:
        forget()


async def _attempt(claim: Claim, limit: int | None) -> Claimed | None:
    """Claim once. Whoever is cancelled, or finds the store away, claims nothing."""
    attempt = asyncio.ensure_future(with_retry(partial(get_store().aclaim, claim, limit), WAITS))
    try:
        return await asyncio.shield(attempt)
    except (asyncio.CancelledError, StoreUnavailable):
        current().spawn(_withdraw(attempt, claim), "once")
        raise


async def _withdraw(attempt: asyncio.Future[Claimed | None], claim: Claim) -> None:
    await asyncio.wait({attempt})
    await unclaim(claim)


async def settle(claim: Claim, outcome: str) -> bool:
    """Store the outcome of a call that happened, and notify those who wait for it.

    False if somebody else has settled it, because this worker was taken for lost, or if this process stops
    while the store is away. Raises SessionEnded, InvalidSessionData for what is too long for the store, and
    whatever else the store raises, if it raises that again and again.
    """
    return bool(await _stored(partial(get_store().asettle, claim, outcome), claim))


async def unclaim(claim: Claim) -> None:
    """The call has not happened: whoever waits for it is to run it, or comes next."""
    await _stored(partial(get_store().aunclaim, claim), claim)


async def _stored(attempt: Callable[[], Awaitable[T]], claim: Claim) -> T | None:
    """What is not stored has others wait as long as this worker lives.

    So this waits for a store that is away, and tries several times what fails in another way.
    """
    pauses = iter(PAUSES[:4])
    while True:
        try:
            answer = await with_retry(attempt, WAITS)
        except StoreUnavailable:
            if current().draining:
                return None
        except (SessionEnded, InvalidSessionData):
            raise
        except Exception:
            if (pause := next(pauses, None)) is None:
                raise
            logger.exception("a call that happens once is not stored yet")
            await asyncio.sleep(pause)
        else:
            current().spawn(_tell(claim), "once")
            return answer


async def _tell(claim: Claim) -> None:
    try:
        await get_hub().topics.publish(_topic_of(claim), "")
    except StoreUnavailable as error:
        logger.info("those who wait for a call that happens once look for themselves: %s", error)


def _topic_of(claim: Claim) -> str:
    return f"once/{claim.name}"
