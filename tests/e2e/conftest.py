"""Server processes for the tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from functools import cache
from urllib.parse import urlsplit

import pytest

from tests.harness.databases import SQLiteTemplate, postgres_database
from tests.harness.node import Node, NodeUnavailable, installed
from tests.harness.ports import is_open
from tests.harness.server import KINDS, Kind, ServerProcess
from tests.harness.services import unavailable

StartServer = Callable[..., ServerProcess]
LOG_TAIL = 6000

# Every server of the run, for the logs of tests that fail.
started: list[ServerProcess] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the servers that run said meanwhile."""
    report = yield
    if report.failed:
        for server in started:
            if server.process is not None:
                report.sections.append((f"{server.kind} on {server.port}", server.log()[-LOG_TAIL:]))
    return report


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> SQLiteTemplate:
    return SQLiteTemplate(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="session")
def helpdesk_of(
    template: SQLiteTemplate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Kind], ServerProcess]]:
    """The example's helpdesk under either ASGI server: one process of each for the whole test run."""
    servers: dict[Kind, ServerProcess] = {}

    def get(kind: Kind) -> ServerProcess:
        if kind not in servers:
            servers[kind] = ServerProcess(
                tmp_path_factory.mktemp("helpdesk"), kind=kind, database_url=template.copy()
            )
            started.append(servers[kind])
            servers[kind].start()
        return servers[kind]

    yield get
    _end(list(servers.values()))


@pytest.fixture(params=KINDS)
def helpdesk(request: pytest.FixtureRequest, helpdesk_of: Callable[[Kind], ServerProcess]) -> ServerProcess:
    return helpdesk_of(request.param)


@pytest.fixture(scope="module")
def start_server(template: SQLiteTemplate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start a server process with a database of its own, to be ended with the module."""
    servers: list[ServerProcess] = []

    def start(**options: object) -> ServerProcess:
        options.setdefault("database_url", template.copy())
        server = ServerProcess(tmp_path_factory.mktemp("server"), **options)  # type: ignore[arg-type]
        servers.append(server)
        started.append(server)
        server.start()
        return server

    yield start
    _end(servers)


@pytest.fixture
def postgres() -> Iterator[str]:
    """The URL of a prepared database on this machine's PostgreSQL, or on the one that is named."""
    server = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")
    if not is_open(urlsplit(server).port or 5432, urlsplit(server).hostname or "127.0.0.1"):
        unavailable("No PostgreSQL answers at TEST_POSTGRES_URL.")
    with postgres_database(server) as url:
        yield url


@pytest.fixture(scope="session")
def node() -> Callable[[], Node]:
    """Asked for only where it is used: installs the npm packages, or skips."""

    @cache
    def install() -> Node:
        try:
            return installed()
        except NodeUnavailable as error:
            unavailable(str(error))

    return install


def _end(servers: list[ServerProcess]) -> None:
    """No process stays behind, and nothing went wrong in a server that no client was told of."""
    problems: list[str] = []
    for server in servers:
        try:
            server.end()
        except AssertionError as error:
            problems.append(str(error))
        problems += server.tracebacks()
    assert not problems, "\n\n".join(problems)
