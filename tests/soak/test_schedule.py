"""The schedule is the seed's: nothing but the seed and the sizes decides what will happen."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.harness.server import ROOT
from tests.soak.drawing import draw
from tests.soak.options import Options
from tests.soak.schedule import Batch, Call, Cut, Message, Schedule

OPTIONS = Options(seed=7, steps=60, clients=4, workers=3)
DIGEST = "from tests.soak.options import Options; from tests.soak.drawing import draw; print(draw({}).digest)"


def calls_of(schedule: Schedule) -> list[Call]:
    steps = [step for lives in schedule.clients for life in lives for _, step in life.steps]
    return [step for step in steps if isinstance(step, Call)]


def test_one_seed_gives_one_schedule() -> None:
    assert draw(OPTIONS) == draw(OPTIONS)
    assert draw(OPTIONS).digest == draw(OPTIONS).digest


def test_another_process_draws_the_same() -> None:
    """Python's own hashes differ from process to process; a schedule must not."""
    command = [sys.executable, "-c", DIGEST.format(OPTIONS)]
    for hash_seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == draw(OPTIONS).digest


@pytest.mark.parametrize("other", [{"seed": 8}, {"steps": 61}, {"clients": 5}, {"workers": 2}])
def test_another_seed_or_size_gives_another(other: dict[str, int]) -> None:
    assert draw(OPTIONS).digest != draw(replace(OPTIONS, **other)).digest  # type: ignore[arg-type]


def test_a_client_more_changes_nothing_for_the_others() -> None:
    more = draw(replace(OPTIONS, clients=5))
    assert more.clients[:4] == draw(OPTIONS).clients and more.troubles == draw(OPTIONS).troubles


def test_every_client_has_its_steps_and_goes_to_workers_that_exist() -> None:
    schedule = draw(OPTIONS)
    assert [sum(len(life.steps) for life in lives) for lives in schedule.clients] == [60] * 4
    routes = [call.route + call.replies for call in calls_of(schedule)]
    assert {worker for route in routes for worker in route} == set(range(3))
    assert {victim for trouble in schedule.troubles for victim in trouble.victims} == set(range(3))


def test_everything_is_drawn_sometimes() -> None:
    schedule = draw(replace(OPTIONS, steps=400, redis=True))
    lives = [life for lives in schedule.clients for life in lives]
    steps = [step for life in lives for _, step in life.steps]
    assert {type(step) for step in steps} == {Call, Batch, Message, Cut}
    assert {call.tool for call in calls_of(schedule)} == {
        *("quick", "count", "flood", "quiet", "ask", "sample", "forever", "announce", "tell")
    }
    assert {life.dialect for life in lives} == {"specification", "guide", "sse"}
    assert {life.version for life in lives} == {"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}
    assert len({life.ending for life in lives}) == 4
    kinds = {trouble.what for trouble in schedule.troubles}
    assert kinds == {"kill", "restart", "pause", "freeze", "outage"}


def test_only_what_can_be_done_is_drawn() -> None:
    """A file has no service to be cut off from, and who is stopped while it writes stops everybody."""
    schedule = draw(replace(OPTIONS, steps=400, database="sqlite"))
    assert {trouble.what for trouble in schedule.troubles} == {"kill", "restart", "pause"}


def test_calm_means_no_troubles() -> None:
    assert not draw(replace(OPTIONS, has_troubles=False)).troubles
