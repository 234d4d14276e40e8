"""`make bench`: how long it takes, and what it writes when rows are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.speed import __main__ as bench
from tests.bench.speed import report
from tests.bench.speed.loads import Load
from tests.bench.speed.measured import HEAD, Measured
from tests.bench.speed.rows import GROWTH, ROWS, Row
from tests.bench.speed.sides import Spent

ROW = {row.name: row for row in ROWS}


def load(seconds: float, cost: float = 0.001) -> Load:
    return Load([seconds] * 100, 100 * seconds, Spent(100 * cost, 0.0))


def measured(row: Row, number: int, own: float = 0.001, other: float = 0.002) -> Measured:
    return Measured(row, number, [load(own)], [] if row.max_share else [load(other)])


def test_the_whole_takes_less_than_a_quarter_of_an_hour() -> None:
    assert bench.time_of(ROWS, bench.parse([])) < 15 * 60


def test_a_rate_is_reached_only_if_nobody_waits_longer() -> None:
    row = ROW["modern"]
    assert measured(row, 16).is_reached
    slow_tail = Load([0.001] * 98 + [0.5] * 2, 0.1, Spent(0.1, 0.0))
    assert not Measured(row, 16, [slow_tail], [load(0.002)]).is_reached


def test_a_share_of_a_core_has_no_other_side() -> None:
    row = ROW["idle"]
    assert measured(row, 10_000).is_reached is False  # 0.001 s of 0.001 s
    quiet = Measured(row, 10_000, [Load([60.0], 60.0, Spent(0.5, 0.1))])
    assert quiet.is_reached and "1.00 % of a core" in quiet.cells
    assert len(quiet.cells) == len(HEAD)


def test_the_page_says_which_rows_have_no_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before {report.BEGIN} old {report.END} after")
    (tmp_path / "images").mkdir()
    monkeypatch.setattr(report, "DOCS", tmp_path)
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "conditions", lambda rounds: f"{rounds} rounds.")
    found = [measured(ROW["echo"], number) for number in (1, 16, 64)]
    report.write([*found, *(measured(ROW["sessions"], number) for number in GROWTH)], 3)
    text = page.read_text()
    assert text.startswith("before ") and text.endswith(" after") and "old" not in text
    assert "Not measured in this run: `opening`" in text and "`echo`" not in text
    charts = sorted(each.name for each in (tmp_path / "images").iterdir())
    assert charts == ["bench-latency.svg", "bench-sessions.svg", "bench-throughput.svg"]
    assert all(f"images/{name}" in text for name in charts)
