"""Fixtures that tests of every folder may ask for."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.test import TransactionTestCase
from hypothesis import HealthCheck, settings

from tests.emptying import empty_databases
from tests.harness.browsing import browser, play
from tests.ordering import arrange
from tests.process import own_process
from tests.servers import Gate, gates
from tests.sessions import new_session

# Before a test module of any folder imports them.
pytest.register_assert_rewrite(
    "mcp_sessions.testing.store_contract", "tests.stores.database", "tests.stores.states"
)

# An example is judged by what comes out, not by the clock on the wall: any process may be held up.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

# Thousands of tests, and all they import, stay until the end: the collector need not go through them
# time and again, which takes a third of the time that it takes to find them.
USUAL_THRESHOLD = gc.get_threshold()
gc.set_threshold(50_000)

__all__ = ["browser", "gate", "new_session", "play", "process"]


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(*USUAL_THRESHOLD)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    items[:] = arrange(items, count)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Half a surrogate pair that a test logs could not be told by the process that ran it."""
    return encodable((yield))


def encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {name: encodable(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(encodable, value))
    return value


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """No suffix to the names of the databases: tests/settings.py has one for every process already,
    which processes that a test starts know too.
    """


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Databases are emptied faster than by Django, which also makes the content types and permissions
    of all apps anew each time. Who needs them asks for `permissions`.
    """
    TransactionTestCase._fixture_teardown = empty_databases


@pytest.fixture
def permissions(transactional_db: None) -> None:
    """The permissions of the app's models."""
    create_permissions(apps.get_app_config("mcp_sessions"), verbosity=0)


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
