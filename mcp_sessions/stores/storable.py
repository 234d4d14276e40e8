"""What every store can keep: text and JSON without what some database refuses.

PostgreSQL refuses NUL characters, lone surrogates and NaN in JSON; MariaDB refuses JSON that is
nested deeper than 31 levels. A project should not find that out on the day it changes databases.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from mcp_sessions.exceptions import InvalidSessionData

MAX_DEPTH: Final = 31
"""Levels of objects and arrays, the outermost being the first."""

_REFUSED = re.compile("[\x00\ud800-\udfff]")
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storable_text(text: str) -> str:
    """The text with U+FFFD in place of each character that a database refuses."""
    return _REFUSED.sub("\ufffd", text)


def storable_json(value: Any, depth: int = 0) -> Any:
    """What a client sent, so that it can be kept whatever it is; numbers that are none become null."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping | list | tuple) and depth >= MAX_DEPTH:
        return None
    if isinstance(value, Mapping):
        return {storable_text(str(name)): storable_json(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(inner, depth + 1) for inner in value]
    return value


def checked_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data as a dict. Raises InvalidSessionData unless every database can keep it."""
    plain = dict(data)
    try:
        text = json.dumps(plain, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidSessionData("The data has half of a surrogate pair in a string.") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSessionData(f"The data is not JSON: {error}") from error
    if _ESCAPED_NUL.search(text):
        raise InvalidSessionData("The data has a NUL character in a string.")
    if _depth(plain) > MAX_DEPTH:
        raise InvalidSessionData(f"The data is nested deeper than {MAX_DEPTH} levels.")
    return plain


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level:
        depth += 1
        inner = (x for outer in level for x in (outer.values() if isinstance(outer, dict) else outer))
        level = [x for x in inner if isinstance(x, dict | list | tuple)]
    return depth


def digest_of_uri(uri: str) -> str:
    return hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()
