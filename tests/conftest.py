"""Fixtures that tests of every folder may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from tests.process import own_process
from tests.servers import Gate, gates
from tests.sessions import new_session

__all__ = ["gate", "new_session", "process"]


@pytest.fixture
async def process(transactional_db: None) -> AsyncIterator[None]:
    """A process of its own, as it were: nothing of it is there for the next test."""
    async with own_process():
        yield


@pytest.fixture
def gate() -> Iterator[str]:
    """The name of a gate for the server's tools; it is open when the test is over."""
    name = uuid4().hex
    gates[name] = Gate()
    yield name
    gates.pop(name).open()
