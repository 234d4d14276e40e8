"""What is logged stays on its line: values, which may be a client's words, are escaped and cut."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from traceback import TracebackException
from typing import Any, Final

LOGGERS: Final = tuple(
    f"mcp_sessions.{name}"
    for name in (
        "analytics",
        "asgi",
        "background",
        "backpressure",
        "deferred",
        "delivery",
        "lifecycle",
        "messages",
        "metrics",
        "middleware",
        "protocol",
        "requests",
        "routing",
        "runtime",
        "security",
        "sessions",
        "signals",
        "state",
        "stores",
        "throttling",
    )
)
"""Every logger of the app: a logger's filters do not see the lines of those below it."""
MAX_LENGTH: Final = 500
"""Characters of one value."""


def shown(text: str) -> str:
    """The text on one line: line breaks, other controls and halves of characters escaped, and cut."""
    if len(text) > MAX_LENGTH:
        text = f"{text[:MAX_LENGTH]}…"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class OneLine(logging.Filter):
    """Shows every value of a line as `shown` does, and the texts of exceptions in its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, Mapping):
            record.args = {name: _shown(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_shown, record.args))
        if record.exc_info and record.exc_info[0] and not record.exc_text:
            record.exc_text = _traceback(TracebackException(*record.exc_info))
        return True


ONE_LINE: Final = OneLine()


def keep_lines_whole() -> None:
    """Have the app's loggers show values so."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(ONE_LINE)


def _shown(value: Any) -> Any:
    """The value itself if it is shown as it is: handlers may look at it."""
    try:
        text = str(value)
    except Exception:
        return value  # logging itself says what is wrong with it
    return value if text == (safe := shown(text)) else safe


def _traceback(error: TracebackException) -> str:
    for each in _chain(error):
        # What str() makes of the exception; Python has no public name for it.
        if isinstance(text := getattr(each, "_str", None), str):
            each._str = shown(text)  # type: ignore[attr-defined]
    return "".join(error.format()).rstrip("\n")


def _chain(error: TracebackException | None) -> Iterator[TracebackException]:
    """The exception, those that it came from, and those of a group."""
    if error is not None:
        yield error
        for inner in (error.__cause__, error.__context__, *(getattr(error, "exceptions", None) or ())):
            yield from _chain(inner)
