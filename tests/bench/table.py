"""The table in which figures are printed, each row as soon as it is measured."""

from __future__ import annotations

from typing import Final

Row = tuple[str, str, str, str]

WIDTHS: Final = (48, 9, 8, 0)


class Table:
    def __init__(self, head: Row, *, markdown: bool) -> None:
        self._is_markdown = markdown
        self.add(head)
        if markdown:
            self.add(("---", "---:", "---:", "---"))

    def add(self, row: Row) -> None:
        cells = (cell.ljust(width) for cell, width in zip(row, WIDTHS, strict=True))
        line = f"| {' | '.join(row)} |" if self._is_markdown else "  ".join(cells).rstrip()
        print(line, flush=True)


def seconds(value: float) -> str:
    """A length of time in three digits or so."""
    if value >= 10:
        return f"{value:,.0f} s"
    if value >= 1:
        return f"{value:.1f} s"
    return f"{value * 1000:.0f} ms" if value >= 0.01 else f"{value * 1000:.1f} ms"
