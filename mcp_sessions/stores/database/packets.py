"""MariaDB and MySQL close the connection on a statement that is too long: as if they had gone away."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from django.db import DataError

LOOKED_AT: Final = 256 * 1024
"""Bytes of a statement whose length may matter; a server that takes fewer could not keep sessions."""

_ESCAPED: Final = re.compile(r"""[\\'"\0\n\r\x1a]""")


def in_one_packet(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:
    """Django's way around every statement: refuse what the server would not survive the reading of."""
    longest = max(map(length, params if many else [params or ()]), default=0) + len(sql)
    if longest > LOOKED_AT:
        with context["connection"].cursor() as cursor:
            cursor.execute("SELECT @@max_allowed_packet")
            (most,) = cursor.fetchone()
        if longest >= most:
            raise DataError(f"It needs {longest} bytes, and max_allowed_packet is {most}")
    return execute(sql, params, many, context)


def length(values: Iterable[Any]) -> int:
    """Bytes that the values take in a statement."""
    return sum(map(_length, values))


def _length(value: Any) -> int:
    if not isinstance(value, str):
        return len(str(value))
    if len(value) * 4 < LOOKED_AT:
        return len(value)
    return len(value.encode(errors="replace")) + len(_ESCAPED.findall(value))
