"""The units of docs/deployment, as systemd sees them, and what they start."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from mcp_sessions import background
from mcp_sessions.conf import AppSettings
from mcp_sessions.delivery import drain
from tests.harness.pages import page
from tests.harness.server import ROOT, environment

FOLDER: Final = ROOT / "docs/deployment"
UNITS: Final = sorted(FOLDER.glob("*.service"))
PROGRAMS: Final = "/srv/shop/.venv/bin/"

each_unit = pytest.mark.parametrize("unit", UNITS, ids=[each.stem for each in UNITS])


def service(unit: Path) -> dict[str, str]:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(unit.read_text())
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    return dict(parser["Service"])


@cache
def help_of(*command: str) -> str:
    """What a program of the environment says that it takes."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:], "--help"],
        cwd=ROOT,
        env=environment({"DJANGO_SETTINGS_MODULE": "tests.e2e_settings"}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_names_them_all() -> None:
    linked = re.findall(r"\]\(deployment/([^)]+)\)", page("deployment.md"))
    assert set(linked) == {file.name for file in FOLDER.iterdir()}


@each_unit
def test_what_it_starts_is_there_and_takes_its_arguments(unit: Path) -> None:
    program, *words = shlex.split(service(unit)["ExecStart"])
    name = program.removeprefix(PROGRAMS)
    assert program == PROGRAMS + name
    # Celery has what comes before its command, and what its command takes.
    command = [word for word in words if word in ("worker", "beat")]
    at = words.index(command[0]) if command else 0
    for options, told in ((words[:at], help_of(name)), (words[at:], help_of(name, *command))):
        for option in (word for word in options if word.startswith("-")):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told), (option, told)


@each_unit
def test_systemd_has_nothing_to_say(unit: Path, tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("There is no systemd here; its grammar is looked at by the test before.")
    programs = str(Path(sys.executable).parent) + "/"
    here = tmp_path / unit.name
    here.write_text(unit.read_text().replace(PROGRAMS, programs).replace("/srv/shop", str(ROOT)))
    done = subprocess.run([verifier, "verify", str(here)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_process_has_the_time_to_stop() -> None:
    (web,) = [each for each in UNITS if "web" in each.name]
    longest = AppSettings.DRAIN_SECONDS.default + 3 * drain.STOP_SECONDS + 2 * background.STOP_SECONDS
    grace = int(service(web)["TimeoutStopSec"])
    assert grace > longest
    # What the pages advise for every process manager.
    assert grace == AppSettings.DRAIN_SECONDS.default + 40
    assert "for DRAIN_SECONDS + 40 seconds" in page("workers.md")
