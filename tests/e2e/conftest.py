"""Server processes for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.harness.databases import PostgresTemplate, SQLiteTemplate
from tests.harness.node import INSPECTOR, Node, NodeUnavailable, installed
from tests.harness.server import KINDS, Kind, ServerProcess
from tests.harness.services import POSTGRES, needed, unavailable

StartServer = Callable[..., ServerProcess]

# Behind uvicorn, unless the test is marked: what clients and the app say to each other is the same.
either_server = pytest.mark.parametrize("helpdesk", KINDS, indirect=True)
"""For how a connection is answered, streamed, cut and resumed, where servers differ."""
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


@pytest.fixture(params=["uvicorn"])
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


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[PostgresTemplate]:
    """A prepared database on this machine's PostgreSQL, or on the one that is named, to be copied."""
    needed(POSTGRES, "PostgreSQL")
    with ExitStack() as stack:
        yield PostgresTemplate(POSTGRES, stack)


@pytest.fixture
def postgres(postgres_template: PostgresTemplate) -> Iterator[str]:
    """The URL of a prepared database that no other test uses meanwhile."""
    with postgres_template.lent() as url:
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


@pytest.fixture
def inspector(node: Callable[[], Node]) -> Node:
    """MCP Inspector, and the Node that the other packages have."""
    node()
    try:
        return installed(INSPECTOR)
    except NodeUnavailable as error:
        unavailable(str(error))


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
