"""Which process of a test run begins with what.

Each begins with its share of the tests that take long, the longest first. A process that has nothing
left takes tests over from the end of another one's queue, and by then only short ones are left there.
Tests that share servers stay together, so that few processes start the same ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Final

import pytest

Group = list[pytest.Item]

SECONDS: Final = {
    "tests/e2e/test_conformance": 7,
    "tests/test_bench": 14,
    "tests/e2e/operations": 12,
    "tests/e2e/deploys/test_database_outage": 6,
    "tests/e2e/deploys/test_drain": 5,
    "tests/e2e/deploys": 15,
    "tests/e2e/deployment": 4,
    "tests/e2e/metrics": 8,
    "tests/e2e/logs": 4,
    "tests/example": 5,
    "tests/browser": 4,
    "tests/e2e/test_restart": 4,
    "tests/e2e/test_inspector": 5,
    "tests/e2e/test_guide_browser": 4,
    "tests/e2e/workers/test_killed": 25,
    "tests/e2e/workers/test_once": 15,
    "tests/e2e/workers/test_trimming": 10,
    "tests/e2e/workers/test_times": 8,
    "tests/e2e/workers/test_edits": 5,
    "tests/e2e/workers/test_refusals": 8,
    "tests/e2e/workers/test_rows": 5,
    "tests/e2e/workers": 1.5,
    "tests/soak": 1.5,
    "tests/e2e": 1,
}
"""How long a test of these takes, roughly: the first line that fits counts. All others are short."""
SHORT: Final = 0.1


@cache
def seconds(item: pytest.Item) -> float:
    name = item.nodeid
    return next((took for start, took in SECONDS.items() if name.startswith(start)), SHORT)


def is_long(item: pytest.Item) -> bool:
    return seconds(item) > SHORT


def arrange(items: list[pytest.Item], count: int) -> list[pytest.Item]:
    """The order in which `count` processes run them: each is given as many of it as the others."""
    short = [item for item in items if not is_long(item)]
    ordered: list[pytest.Item] = []
    for number, share in enumerate(shares(groups(filter(is_long, items)), count)):
        ordered += [item for group in sorted(share, key=mean, reverse=True) for item in group]
        end = (number + 1) * len(items) // count
        room = max(end - len(ordered), 0)
        ordered += short[:room]
        del short[:room]
    return ordered + short


def groups(items: Iterable[pytest.Item]) -> list[Group]:
    """Those that share servers, the longest of each first."""
    found = defaultdict[str, Group](list)
    for item in items:
        found[servers_of(item)].append(item)
    return [sorted(group, key=seconds, reverse=True) for group in found.values()]


def shares(groups: list[Group], count: int) -> list[list[Group]]:
    """Each group goes whole to the process that has least to do so far, the largest group first."""
    shares: list[list[Group]] = [[] for _ in range(count)]
    for group in sorted(groups, key=total, reverse=True):
        min(shares, key=lambda share: sum(map(total, share))).append(group)
    return shares


def total(group: Group) -> float:
    return sum(map(seconds, group))


def mean(group: Group) -> float:
    return total(group) / len(group)


def servers_of(item: pytest.Item) -> str:
    """A name of the servers that the test shares with others."""
    module, *_ = item.nodeid.split("::")
    given = getattr(item, "callspec", None)
    backing = given.params.get("backing") if given else None
    if backing is not None:
        return f"workers on {backing}"
    if module.startswith(("tests/browser", "tests/e2e/test_guide_browser")):
        return "a browser"
    # Each of these starts its own.
    return item.nodeid if module.startswith(("tests/e2e/deploys", "tests/example")) else module
