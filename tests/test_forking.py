"""A forked program begins and ends as one that an interpreter starts (tests/harness/forking.py)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import psutil

from tests.harness import forking, processes
from tests.harness.server import environment

DEADLINE: Final = 120.0

BEGUN: Final = """
import json, os, random, sys
from django.conf import settings
kept_out = ("mcp_sessions.models", "mcp_sessions.stores.database", "example_project", "pytest", "hypothesis")
ours = [name for name in sys.modules if name.startswith(kept_out)]
files = sorted(map(int, os.listdir("/proc/self/fd")))[:-1] if os.path.isdir("/proc/self/fd") else [0, 1, 2]
told = [__name__, sys.argv, sys.path[:2], os.getcwd(), os.environ.get("ONLY"), "PATH" in os.environ]
print(json.dumps([*told, files, settings.configured, ours]))
print(random.random())
"""
WAITING: Final = """
import sys, time
from pathlib import Path
from tests.harness import forking
from tests.harness.server import environment
print(forking.start([sys.argv[1]], env=environment({}), stdout=sys.stdout, stderr=sys.stderr).pid, flush=True)
time.sleep(600)
"""


def script(folder: Path, text: str) -> str:
    path = folder / "script.py"
    path.write_text(text)
    return str(path)


def ran(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    return forking.run([script(folder, text)], env=environment({}), timeout=DEADLINE)


def test_it_begins_as_an_interpreter_does(tmp_path: Path) -> None:
    path, env = script(tmp_path, BEGUN), {"PYTHONPATH": "/somewhere", "ONLY": "this"}
    own = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}
    given = {**own, "PYTHONUNBUFFERED": "1", **env}
    done = [forking.run([path, "-v"], env=given, timeout=DEADLINE, cwd=tmp_path) for _ in range(2)]
    (told, chance), (_, other) = (each.stdout.splitlines() for each in done)
    paths = [str(tmp_path), "/somewhere"]
    expected = ["__main__", [path, "-v"], paths, str(tmp_path), "this", False, [0, 1, 2], False, []]
    assert json.loads(told) == expected
    assert chance != other


def test_it_ends_as_it_would(tmp_path: Path) -> None:
    assert ran(tmp_path, "import sys; sys.exit(3)").returncode == 3
    assert ran(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGTERM)").returncode == -15
    assert ran(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGINT)").returncode != 0
    assert ran(tmp_path, "import atexit; atexit.register(print, 'the end')").stdout == "the end\n"
    failed = ran(tmp_path, "print('this'); 1 / 0")
    assert (failed.returncode, failed.stdout) == (1, "this\n")
    assert failed.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_it_hears_signals(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as log:
        path = script(tmp_path, "import time; time.sleep(600)")
        process = forking.start([path], env=environment({}), stdout=log, stderr=log)
        assert process.poll() is None
        process.terminate()
        assert process.wait(DEADLINE) == process.poll() == -signal.SIGTERM


def test_it_dies_with_the_run_that_started_it(tmp_path: Path) -> None:
    waiting = script(tmp_path, "import time; time.sleep(600)")
    command = [sys.executable, "-c", WAITING, waiting]
    with subprocess.Popen(command, cwd=forking.ROOT, env=environment({}), stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        left = psutil.Process(int(run.stdout.readline()))
        run.kill()
    assert processes.left_behind([left], DEADLINE) == []
