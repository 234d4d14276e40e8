"""How often something happened that has one line, however often."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from mcp_sessions.logs.failures import is_power_of_ten

MAX_COUNTS: Final = 1000
"""Things that are counted at once; of what has not happened for longest the count begins anew."""


class Repeats:
    """Counts of what happened again and again, in this process."""

    def __init__(self, most: int = MAX_COUNTS) -> None:
        self._most = most
        self._counts: OrderedDict[Hashable, int] = OrderedDict()

    def add(self, what: Hashable) -> int:
        """It happened once more; how often by now."""
        count = self._counts.pop(what, 0) + 1
        self._counts[what] = count
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)
        return count


repeats: Final = Repeats()
"""Those of this process."""


def due(what: Hashable) -> int:
    """It happened once more: how often by now, if a line is due for it; else 0."""
    count = repeats.add(what)
    return count if is_power_of_ten(count) else 0
