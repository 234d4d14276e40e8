"""A bar for whoever watches long work at a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

WIDTH: Final = 40


class Progress:
    """Draws how much of at most `total` is done. Into a file or a pipe, or of nothing, it draws nothing."""

    def __init__(self, out: Any, total: int, what: str) -> None:
        self._out = out
        self._total = total
        self._what = what
        self._done = 0
        self._is_drawn = total > 0 and out.isatty()

    def __enter__(self) -> Progress:
        self.show(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            # Some of what was counted may have been left for good reason: this is all there was to do.
            self._total = self._done
            self.show(self._done)
        if self._is_drawn:
            self._out.write("\n", ending="")

    def show(self, done: int) -> None:
        """So much is done until now."""
        self._done = done
        if self._is_drawn:
            # More may have come since it was counted.
            share = min(done / self._total, 1) if self._total else 1
            bar = "#" * round(share * WIDTH)
            self._out.write(f"\r{self._what} [{bar:.<{WIDTH}}] {share:4.0%}  {done}/{self._total}", ending="")
            self._out.flush()
