"""A short soak finds nothing, and finds every kind of fault when there is one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.harness.cluster import Cluster
from tests.soak.__main__ import main
from tests.soak.drawing import draw
from tests.soak.model import Kind
from tests.soak.options import Fault, parse
from tests.soak.schedule import Batch, Call, Message
from tests.soak.services import cluster, services

ARGUMENTS: Final = ["--seed=231", "--steps=6", "--clients=4", "--workers=2", "--database=sqlite", "--calm"]
OPTIONS: Final = parse(ARGUMENTS, "")
FAULTS: Final[dict[Fault, Kind]] = {
    "dropped": Kind.LOST,
    "doubled": Kind.DOUBLED,
    "reordered": Kind.OUT_OF_ORDER,
    "reply-lost": Kind.HANGING,
}
IMPATIENT: Final = "30"
"""Seconds, for the one fault that is found by waiting. So long a busy machine may need for an answer."""
FOLDER: Final = re.compile(r"logs in (\S+)")
VERDICT: Final = (
    "lost {lost}  doubled {doubled}  hanging {hanging}  out of order {out of order}  wrong {wrong}"
)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("soak")
    with services(OPTIONS, folder) as needed, cluster(OPTIONS, folder, needed) as started:
        yield started


def verdict(**counts: int) -> str:
    return VERDICT.format_map({**{kind.value: 0 for kind in Kind}, **counts})


def test_the_schedule_has_what_the_faults_need() -> None:
    lives = [life for lives in draw(OPTIONS).clients for life in lives]
    assert {life.dialect for life in lives} == {"specification", "guide", "sse"}
    assert "expire" not in {life.ending for life in lives}, "This takes a minute."
    steps = [step for life in lives if life.dialect != "sse" for _, step in life.steps]
    assert any(isinstance(step, Batch) for step in steps)
    calls = [step for step in steps if isinstance(step, Call)]
    assert any(isinstance(step, Message) for step in steps)
    assert any(call.tool == "count" and call.count > 2 for call in calls), "What is reordered."
    assert any(call.tool in ("ask", "sample") for call in calls)


def test_a_soak_without_a_fault_finds_nothing(workers: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(ARGUMENTS, workers) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"seed 231, schedule {draw(OPTIONS).digest}: ")
    assert verdict() in told
    figures = dict(re.findall(r"^  (\w+) +(\d+)$", told, re.MULTILINE))
    for name in ("sessions", "calls", "events", "messages", "cuts", "resumes", "replies"):
        assert int(figures[name]) > 0, told
    assert not Path(FOLDER.findall(told)[0]).exists()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_called_by_its_name(
    fault: Fault, workers: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    patience = ["--patience", IMPATIENT] if fault == "reply-lost" else []
    assert main([*ARGUMENTS, "--fault", fault, *patience], workers) == 1
    told = capsys.readouterr().out
    assert verdict(**{FAULTS[fault].value: 1}) in told
    assert f"  {FAULTS[fault].upper()} " in told
    shutil.rmtree(FOLDER.findall(told)[0])
