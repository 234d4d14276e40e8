"""Processes that share a store: what they write at the same time is all kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest
from django.conf import settings
from django.db import connections

from mcp_sessions.records import Append
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import messages, put_stream

COUNT: Final = 100
"""Events that each process appends."""
DEADLINE: Final = 180
"""Seconds that the other process may take, on a machine that is busy with other tests."""
NO_OPTIONS: Final = (
    "Add the fixture `options`: the OPTIONS with which another process makes the store that `store` returns. "
    "If each process has a store of its own, set shared_by_processes = False in its class."
)


class ProcessContract:
    @pytest.fixture
    def options(self, store: BaseSessionStore) -> Mapping[str, Any]:
        """What another process passes to the store's class."""
        if not store.shared_by_processes:
            pytest.skip("each process has a store of its own")
        pytest.fail(NO_OPTIONS)

    def test_what_two_processes_append_is_all_kept(
        self, store: BaseSessionStore, options: Mapping[str, Any]
    ) -> None:
        """A lock that another process does not see lets both give out the same positions."""
        stream = put_stream(store)
        with _another_process(store, options, stream) as process:
            assert process.stdout is not None
            began = process.stdout.readline()
            positions = [append(store, stream) for _ in range(COUNT)] if began else []
            output, _ = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, "the other process failed: its traceback is above"
        assert sorted(positions + json.loads(output)) == list(range(1, 2 * COUNT + 1))


def append(store: BaseSessionStore, stream: str) -> int:
    """Append an event to a stream; its position."""
    [[(_, position)]] = store.append([Append(stream, messages("a"))])
    return position


@contextmanager
def _another_process(
    store: BaseSessionStore, options: Mapping[str, Any], stream: str
) -> Iterator[subprocess.Popen[str]]:
    made = {
        "store": [type(store).__module__, type(store).__qualname__, dict(options)],
        "databases": {alias: str(connections[alias].settings_dict["NAME"]) for alias in connections},
        "stream": stream,
    }
    command = [sys.executable, "-m", f"{__package__}.another_process", json.dumps(made)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DJANGO_SETTINGS_MODULE": os.environ.get("DJANGO_SETTINGS_MODULE") or settings.SETTINGS_MODULE,
    }
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
