"""How values travel to Redis and back: everything is bytes there, instants are microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

Argument = str | int | float | bool | datetime | None

ERRORS: Final = "surrogatepass"
"""Redis keeps any bytes, so whatever Python has as text comes back."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def argument(value: Argument) -> str | int:
    """A value as scripts take it; None and False are empty."""
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, float):
        return round(value)
    return "" if value is None else value


def text(value: bytes) -> str:
    return value.decode("utf-8", ERRORS)


def instant(value: bytes | str) -> datetime:
    return _EPOCH + timedelta(microseconds=int(value))


def instant_or_none(value: bytes | str | None) -> datetime | None:
    return instant(value) if value else None
