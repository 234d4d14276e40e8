"""What becomes of events while the store is away, or does not say what it has done."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from mcp_sessions.delivery import Item, get_hub, retry
from mcp_sessions.exceptions import StoreBusy, StoreUnavailable
from mcp_sessions.models import StreamEvent
from mcp_sessions.records import MESSAGE, Event
from mcp_sessions.stores import get_store
from tests.process import in_thread
from tests.sessions import Open

DEADLINE: Final = 30.0


def stored() -> list[str]:
    return list(StreamEvent.objects.order_by("stream", "position").values_list("data", flat=True))


def text_of(item: Item) -> str:
    assert isinstance(item, Event)
    return item.data


class Failing:
    """A store's append that fails for a while, before or after it has done its work."""

    def __init__(self, *, after_commit: bool, times: int = 1) -> None:
        self.append = get_store().aappend
        self.after_commit = after_commit
        self.left = times
        self.tried = asyncio.Event()

    async def __call__(self, *arguments: Any) -> Any:
        fails, self.left = self.left > 0, self.left - 1
        if fails and not self.after_commit:
            self.tried.set()
            raise StoreUnavailable("It is away.")
        placed = await self.append(*arguments)
        if fails:
            self.tried.set()
            raise StoreUnavailable("It is unknown whether the transaction took place.")
        return placed


@pytest.mark.parametrize("after_commit", [False, True], ids=["before", "after the commit"])
async def test_an_event_is_stored_once_whenever_the_store_fails(
    new_session: Open, after_commit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await new_session()).record
    follower = await get_hub().connections.follow_new(session)
    items = follower.items()
    monkeypatch.setattr(get_store(), "aappend", Failing(after_commit=after_commit, times=2))
    for text in ("1", "2"):
        placed = await (await get_hub().send_message(session.key, text))
        assert placed
    async with asyncio.timeout(DEADLINE):
        assert [text_of(await anext(items)) for _ in range(2)] == ["1", "2"]
    await items.aclose()
    assert await in_thread(stored) == ["1", "2"]


async def test_what_may_be_stored_is_not_begun_anew_because_its_row_is_locked(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever commits, and is not heard of, may have the row for a while."""
    session, append, errors = (await new_session()).record, get_store().aappend, [StoreBusy, StoreUnavailable]

    async def commit_and_fail(*arguments: Any) -> Any:
        if len(errors) == 1:
            raise errors.pop()("The row is locked.")
        placed = await append(*arguments)
        if errors:
            raise errors.pop()("It is unknown whether the transaction took place.")
        return placed

    monkeypatch.setattr(get_store(), "aappend", commit_and_fail)
    assert await (await get_hub().send_message(session.key, "1"))
    assert not errors and await in_thread(stored) == ["1"]


def fail(*_: Any) -> Any:
    raise RuntimeError("nobody expected this")


@pytest.mark.parametrize("step", ["on_stored", "prepare"])
async def test_nobody_waits_for_ever_whatever_goes_wrong_around_storing(
    new_session: Open, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A broken channel layer, for instance: what is stored is stored, and the rest of the batch too."""
    session = (await new_session()).record
    monkeypatch.setattr(get_hub()._writer.listener, step, fail)
    waiting = [await get_hub().send_message(session.key, text) for text in "123"]
    async with asyncio.timeout(DEADLINE):
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    if step == "on_stored":
        assert all(outcomes) and await in_thread(stored) == ["1", "2", "3"]
    else:
        assert [type(outcome) for outcome in outcomes] == [RuntimeError] * 3


async def test_the_end_of_a_stream_arrives_if_its_news_is_lost(
    new_session: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = (await new_session()).record
    stream = await get_hub().open(session.key, "post", [1])
    follower = get_hub().connections.follow(stream, 0, session)
    monkeypatch.setattr(get_store(), "aappend", Failing(after_commit=True))
    await get_hub().append(stream, MESSAGE, "{}", ends=True)
    async with asyncio.timeout(DEADLINE):
        assert [text_of(item) async for item in follower.items()] == ["{}"]


async def test_a_process_that_stops_does_not_wait_for_ever(
    new_session: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = (await new_session()).record
    failing = Failing(after_commit=False, times=1000)
    monkeypatch.setattr(get_store(), "aappend", failing)
    monkeypatch.setattr(retry, "PAUSES", (3600,))
    waiting = await get_hub().send_message(session.key, "1")
    await asyncio.wait_for(failing.tried.wait(), DEADLINE)
    await get_hub()._writer.flush(0.01)
    assert not waiting.done()
    assert "1 events are lost" in caplog.text
