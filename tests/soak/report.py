"""What a soak found, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.soak.model import Kind, Violation

FIGURES: Final = (
    "sessions",
    "calls",
    "events",
    "messages",
    "cuts",
    "resumes",
    "replays",
    "replies",
    "cancelled",
    "retried",
    "refused by a busy worker",
    "ended with their worker",
    "deleted",
    "expired",
    "batches",
    "stalls",
    "ended with their stream",
    "kills",
    "restarts",
    "pauses",
    "freezes",
    "outages",
)
LONGEST: Final = 2000
SHOWN: Final = 12
"""Violations that are explained; all are counted."""


@dataclass(frozen=True)
class Report:
    tally: Counter[str]
    violations: Sequence[Violation]

    @property
    def exit_code(self) -> int:
        return 1 if self.violations else 0

    def count(self, kind: Kind) -> int:
        return sum(violation.kind is kind for violation in self.violations)

    def __str__(self) -> str:
        width = max(map(len, FIGURES))
        figures = [f"  {name:<{width}}  {self.tally[name]:>7}" for name in FIGURES]
        verdict = "  ".join(f"{kind} {self.count(kind)}" for kind in Kind)
        explained = [f"  {str(violation)[:LONGEST]}" for violation in self.violations[:SHOWN]]
        return "\n".join([*figures, verdict, *explained])
