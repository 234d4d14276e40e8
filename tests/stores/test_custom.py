"""A store of one's own keeps the contract, processes share it, and docs/stores.md shows it."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.utils.module_loading import import_string

from mcp_sessions.conf import OPTIONS
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.stores import get_store
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.stores.memory import InMemorySessionStore, StateSessionStore
from mcp_sessions.testing.store_contract.builders import put, put_stream
from mcp_sessions.testing.store_contract.observing import events_of, reload, texts_of
from tests.stores.files import FileSessionStore
from tests.stores.sharing import COUNT
from tests.stores.states import StateContract

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs/stores.md"
EXAMPLES = dict(re.findall(r"<!-- tested: (\w+) -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL))
DEADLINE = 180


class TestFile(StateContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "sessions"

    @pytest.fixture
    def store(self, path: Path) -> FileSessionStore:
        return FileSessionStore(str(path))

    @pytest.fixture
    def options(self, path: Path) -> dict[str, str]:
        return {"path": str(path)}

    def test_a_transaction_that_fails_changes_nothing(self, store: FileSessionStore) -> None:
        store.enlist("worker")
        with pytest.raises(ZeroDivisionError), store.transaction() as state:
            state.workers.clear()
            _ = 1 / 0
        assert store.beat("worker") is True

    def test_what_is_only_read_is_not_written(self, store: FileSessionStore, path: Path) -> None:
        session = put(store)
        reload(store, session)
        before = path.stat()
        assert reload(store, session) == session
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_a_file_that_cannot_be_reached_is_an_unavailable_store(
        self, store: FileSessionStore, path: Path
    ) -> None:
        path.mkdir()
        for unreachable in (store, FileSessionStore(str(path.parent / "nowhere" / "sessions"))):
            with pytest.raises(StoreUnavailable):
                unreachable.load("a")

    @pytest.mark.parametrize("content", [b"no pickle", pickle.dumps({"an": "older state"})])
    def test_a_file_that_cannot_be_read_is_not_overwritten(
        self, store: FileSessionStore, path: Path, content: bytes
    ) -> None:
        path.write_bytes(content)
        with pytest.raises(StoreUnavailable):
            put(store)
        assert path.read_bytes() == content

    async def test_awaited_verbs_keep_off_the_loop(self, store: FileSessionStore) -> None:
        assert await store.arun(threading.get_ident) != threading.get_ident()

    def test_processes_share_it(self, store: FileSessionStore, path: Path) -> None:
        """What is opened in one is served in another, and what they do at once is all kept."""
        session = put(store)
        stream = put_stream(store, session)
        with ExitStack() as stack:
            one, two = (stack.enter_context(another_process(path, name)) for name in ("one", "two"))
            opened = [said_by(each) for each in (one, two)]
            for process, another in zip((one, two), reversed(opened), strict=True):
                tell(process, f"{session.key} {stream} {another}")
            assert [process.wait(DEADLINE) for process in (one, two)] == [0, 0]
        assert [texts_of(store, key) for key in opened] == [['"from two"'], ['"from one"']]
        self.check(store, stream)
        assert reload(store, session).data == {"count": 2 * COUNT}

    def check(self, store: StateSessionStore, stream: str) -> None:
        events = events_of(store, stream)
        assert [event.position for event in events] == list(range(1, 2 * COUNT + 1))
        by_name: dict[str, list[int]] = defaultdict(list)
        for event in events:
            name, number = event.data.split()
            by_name[name].append(int(number))
        assert by_name == {name: list(range(COUNT)) for name in ("one", "two")}


# What the suite must notice.
FORGETFUL = """
class Forgetful(FileSessionStore):
    def load(self, digest):
        return None


class TestForgetful(TestFileSessionStore):
    @pytest.fixture
    def store(self, tmp_path):
        return Forgetful(str(tmp_path / "sessions"))


del TestFileSessionStore
"""
# Its lock is seen by the threads of one process alone.
UNLOCKED = """
import os
import threading
from contextlib import contextmanager
from unittest import mock


class Unlocked(FileSessionStore):
    lock = threading.RLock()

    @contextmanager
    def transaction(self):
        with self.lock, mock.patch("fcntl.flock"), super().transaction() as state:
            yield state

    def _write(self, content):
        new = self._path.with_suffix(f".{os.getpid()}")
        new.write_bytes(content)
        new.replace(self._path)


class TestUnlocked(TestFileSessionStore):
    @pytest.fixture
    def store(self, tmp_path):
        return Unlocked(str(tmp_path / "sessions"))


del TestFileSessionStore
"""
SETTINGS = """
SECRET_KEY = "no secret"
INSTALLED_APPS = ["mcp_sessions"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MCP_SESSIONS = {"SERVER": "shop.tools:server"}
USE_TZ = True
"""


def write_project(folder: Path) -> None:
    """The project of the documentation: its settings, and the store that it shows."""
    (folder / "shop").mkdir()
    (folder / "shop/__init__.py").touch()
    (folder / "shop/settings.py").write_text(SETTINGS)
    (folder / "shop/stores.py").write_text((ROOT / "tests/stores/files.py").read_text())


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    pipes: dict[str, Any] = {"text": True, "capture_output": True}
    return subprocess.run(command, cwd=folder, env=environment, timeout=DEADLINE, **pipes)


@contextmanager
def another_process(path: Path, name: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.stores.sharing", str(path), name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        timer = threading.Timer(DEADLINE, process.kill)
        timer.start()
        try:
            yield process
        finally:
            timer.cancel()
            process.kill()


def said_by(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "the process ended"
    return line


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    print(line, file=process.stdin, flush=True)


def chosen(example: str) -> dict[str, Any]:
    """The SESSION_STORE of an example of settings."""
    names: dict[str, Any] = {}
    exec(EXAMPLES[example], names)
    assert set(names["MCP_SESSIONS"]) <= OPTIONS.keys()
    store: dict[str, Any] = names["MCP_SESSIONS"]["SESSION_STORE"]
    return store


class TestDocumentation:
    def test_the_examples_are_those_that_are_tested_here(self) -> None:
        assert set(EXAMPLES) == {"settings", "custom", "custom_settings", "suite"}

    def test_the_store_that_is_shown_is_the_one_that_keeps_the_contract(self) -> None:
        assert EXAMPLES["custom"] in (ROOT / "tests/stores/files.py").read_text()

    def test_the_example_of_settings(self) -> None:
        store = chosen("settings")
        made = import_string(store["BACKEND"])(**store["OPTIONS"])
        assert isinstance(made, DatabaseSessionStore)

    def test_a_store_of_ones_own_is_named_like_any_other(self, settings: Any, tmp_path: Path) -> None:
        path = tmp_path / "sessions"
        store = chosen("custom_settings")
        assert store["BACKEND"].rpartition(".")[2] == "FileSessionStore"
        there = {"BACKEND": "tests.stores.files.FileSessionStore", "OPTIONS": {"path": str(path)}}
        assert there["OPTIONS"].keys() == store["OPTIONS"].keys()
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": there}
        session = put(get_store())
        assert reload(FileSessionStore(str(path)), session) == session

    def test_the_class_that_is_shown_runs_the_suite_in_a_project_of_its_own(self, tmp_path: Path) -> None:
        """With nothing of these tests: the project has its settings, its store and the test module."""
        write_project(tmp_path)
        (tmp_path / "test_my_store.py").write_text(EXAMPLES["suite"])
        some = "test_a_worker_that_is_late_is_lost or test_a_session_comes_back_as_it_was"
        ran = run_pytest(tmp_path, "-k", some)
        assert (ran.returncode, "2 passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr

    def test_a_store_that_breaks_the_contract_fails_and_the_values_are_shown(self, tmp_path: Path) -> None:
        write_project(tmp_path)
        forgetful = EXAMPLES["suite"] + FORGETFUL
        (tmp_path / "test_my_store.py").write_text(forgetful)
        ran = run_pytest(tmp_path, "-k", "test_a_session_comes_back_as_it_was")
        assert (ran.returncode, "1 failed" in ran.stdout) == (1, True), ran.stdout + ran.stderr
        assert "assert None == SessionRecord(" in ran.stdout

    def test_a_store_whose_lock_other_processes_do_not_see_fails(self, tmp_path: Path) -> None:
        write_project(tmp_path)
        (tmp_path / "test_my_store.py").write_text(EXAMPLES["suite"] + UNLOCKED)
        ran = run_pytest(tmp_path, "-k", "test_what_two_processes_append_is_all_kept")
        assert (ran.returncode, "assert sorted(" in ran.stdout) == (1, True), ran.stdout + ran.stderr
        (tmp_path / "test_my_store.py").write_text(EXAMPLES["suite"])
        ran = run_pytest(tmp_path, "-k", "test_what_two_processes_append_is_all_kept")
        assert (ran.returncode, "1 passed" in ran.stdout) == (0, True), ran.stdout + ran.stderr

    def test_the_table_names_what_there_is(self) -> None:
        """The dotted paths of the stores, and the verbs of the guide's table."""
        text = DOCS.read_text()
        paths = re.findall(r"`(mcp_sessions\.stores\.\w+\.\w+)`", text)
        assert {import_string(path).__name__ for path in paths} >= {"InMemorySessionStore"}
        verbs = re.findall(r"`(\w+)\(", text.partition("## The guide's four methods")[2])
        verbs = [verb for verb in verbs if verb not in {"store", "retrieve", "delete"}]
        assert verbs
        assert [verb for verb in verbs if not hasattr(BaseSessionStore, verb)] == []

    def test_only_the_store_in_memory_is_one_processs_own(self) -> None:
        assert InMemorySessionStore.shared_by_processes is False
        assert DatabaseSessionStore.shared_by_processes is FileSessionStore.shared_by_processes is True
