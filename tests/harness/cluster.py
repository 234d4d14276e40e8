"""Several server processes on one database, each with a port of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.harness.server import ServerProcess
from tests.harness.wire import RawSession


class Cluster:
    """N server processes that share one database; each is addressed by itself."""

    def __init__(
        self,
        folder: Path,
        count: int,
        *,
        database_url: str,
        redis_url: str | None = None,
        options: Mapping[str, Any] = {},
        **server_options: Any,
    ) -> None:
        """`options` are MCP_SESSIONS's, the others are a ServerProcess's."""
        env = {"E2E_MCP_SESSIONS": json.dumps(dict(options)), **(server_options.pop("env", None) or {})}
        if redis_url:
            env = {"REDIS_URL": redis_url, "E2E_CHANNEL_PREFIX": uuid4().hex, **env}
        self.workers = [
            ServerProcess(folder, database_url=database_url, env=env, **server_options) for _ in range(count)
        ]

    def __getitem__(self, index: int) -> ServerProcess:
        return self.workers[index]

    def __len__(self) -> int:
        return len(self.workers)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Launch all, then wait for all."""
        try:
            for worker in self.workers:
                worker.launch()
            for worker in self.workers:
                worker.wait_ready()
        except BaseException:
            self._end_all()
            raise

    def end(self) -> None:
        """No process stays behind, and nothing went wrong in one that no client was told of."""
        problems = self._end_all()
        for worker in self.workers:
            problems += worker.tracebacks()
        assert not problems, "\n\n".join(problems)

    def _end_all(self) -> list[str]:
        with ThreadPoolExecutor(len(self.workers)) as threads:
            return [problem for problem in threads.map(_end, self.workers) if problem]


def _end(worker: ServerProcess) -> str | None:
    try:
        worker.end()
    except AssertionError as error:
        return str(error)
    return None


@dataclass
class _Elsewhere(RawSession):
    """A session through another worker; requests are numbered by the session it was made from."""

    home: RawSession = field(kw_only=True)

    def message(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.home.message(method, params)


def through(session: RawSession, worker: ServerProcess) -> RawSession:
    """The same session as a client sees it whose requests arrive at that worker."""
    return _Elsewhere(worker.url, session.session_id, session.version, home=session)
