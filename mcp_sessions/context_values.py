"""Values of context variables for as long as a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def set_within(variable: ContextVar[T | None], value: T) -> Iterator[T]:
    """Give a context variable a value inside the block, and afterwards the one that it had."""
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)
