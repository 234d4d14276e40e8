"""What every store can keep: a session's data as one text, and JSON without what some database refuses.

PostgreSQL refuses NUL characters, lone surrogates and NaN in JSON; MariaDB refuses JSON that is
nested deeper than 31 levels. A project should not find that out on the day it changes databases.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, Protocol

from django.utils.module_loading import import_string

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import (
    ConfigurationError,
    InvalidSessionData,
    MCPSessionsError,
    UnreadableData,
)

MAX_DEPTH: Final = 31
"""Levels of objects and arrays, the outermost being the first."""

_BYTES: Final = "base64:"
"""The prefix of data that a serializer wrote as bytes: stores keep text."""
_TEXT: Final = "text:"
"""The prefix of a serializer's text that could be mistaken for that."""

_REFUSED = re.compile("[\x00\ud800-\udfff]")
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storable_text(text: str) -> str:
    """The text with U+FFFD in place of each character that a database refuses."""
    return _REFUSED.sub("\ufffd", text)


def storable_json(value: Any, depth: int = 0) -> Any:
    """A client's value, made storable: NaN, infinities and what is nested too deeply become null."""
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


class Serializer(Protocol):
    """A value of SESSION_SERIALIZER: a module, a class or an object with these two functions."""

    def dumps(self, data: dict[str, Any], /) -> str | bytes: ...

    def loads(self, dumped: Any, /) -> Any: ...


class JSONSerializer:
    """The data as JSON, refusing what would not come back as it was."""

    def dumps(self, data: dict[str, Any]) -> str:
        try:
            text = json.dumps(data, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidSessionData("The data has half of a surrogate pair in a string.") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidSessionData(f"The data is not JSON: {error}") from error
        if _ESCAPED_NUL.search(text):
            raise InvalidSessionData("The data has a NUL character in a string.")
        _check_shape(data)
        return text

    def loads(self, dumped: str) -> Any:
        return json.loads(dumped)


def get_serializer() -> Serializer:
    """The project's serializer. Raises ConfigurationError if there is none."""
    return _load_serializer(app_settings.SESSION_SERIALIZER)


@lru_cache
def _load_serializer(dotted_path: str) -> Serializer:
    found = _import(dotted_path)
    try:
        serializer: Serializer = found() if isinstance(found, type) else found
    except Exception as error:
        raise ConfigurationError(f"SESSION_SERIALIZER: {dotted_path}() fails: {error!r}") from error
    for name in ("dumps", "loads"):
        if not callable(getattr(serializer, name, None)):
            raise ConfigurationError(f"SESSION_SERIALIZER: {dotted_path} has no {name}().")
    _try_out(dotted_path, serializer)
    return serializer


def _try_out(dotted_path: str, serializer: Serializer) -> None:
    try:
        dumped = serializer.dumps({})
        is_good = isinstance(dumped, str | bytes) and serializer.loads(dumped) == {}
    except Exception as error:
        raise ConfigurationError(f"SESSION_SERIALIZER: {dotted_path} fails: {error!r}") from error
    if not is_good:
        raise ConfigurationError(
            f"SESSION_SERIALIZER: {dotted_path} does not make text or bytes that it can read again."
        )


def _import(dotted_path: str) -> Any:
    """An object of a module, or a module itself."""
    try:
        return import_string(dotted_path) if "." in dotted_path else import_module(dotted_path)
    except ImportError as error:
        with suppress(ImportError):
            return import_module(dotted_path)
        raise ConfigurationError(f"SESSION_SERIALIZER: {error}") from error


def serialize(data: Mapping[str, Any]) -> str:
    """A session's data as the text that stores keep.

    Raises InvalidSessionData for what the serializer cannot write, and past MAX_DATA_BYTES.
    """
    try:
        dumped = get_serializer().dumps(dict(data))
    except MCPSessionsError:
        raise
    except Exception as error:
        raise InvalidSessionData(f"The data cannot be serialized: {error}") from error
    size, limit = len(dumped if isinstance(dumped, bytes) else dumped.encode()), app_settings.MAX_DATA_BYTES
    if size > limit:
        raise InvalidSessionData(f"A session's data may have {limit} bytes, and this has {size}.")
    if isinstance(dumped, bytes):
        return _BYTES + base64.b64encode(dumped).decode()
    if _REFUSED.search(dumped):
        raise InvalidSessionData("The serializer wrote a NUL character or half of a surrogate pair.")
    return _TEXT + dumped if dumped.startswith((_BYTES, _TEXT)) else dumped


def deserialize(text: str) -> dict[str, Any]:
    """The data of such a text. Raises UnreadableData, whatever is wrong with it."""
    try:
        data = get_serializer().loads(_dumped(text))
    except ConfigurationError:
        raise
    except Exception as error:
        raise UnreadableData(f"The session's data cannot be read: {type(error).__name__}") from error
    if not isinstance(data, dict):
        raise UnreadableData(f"The session's data is no dict but a {type(data).__name__}.")
    return data


def checked_metadata(value: Any) -> dict[str, Any]:
    """A session's metadata as it was read. Raises UnreadableData if it is something else."""
    if not isinstance(value, dict):
        raise UnreadableData(f"The session's metadata is no dict but a {type(value).__name__}.")
    return value


def readable(metadata: Any) -> Mapping[str, Any]:
    """Metadata, or nothing where it is something else."""
    return metadata if isinstance(metadata, dict) else {}


def _dumped(text: str) -> str | bytes:
    if text.startswith(_BYTES):
        return base64.b64decode(text.removeprefix(_BYTES), validate=True)
    return text.removeprefix(_TEXT)


def _check_shape(data: dict[str, Any]) -> None:
    """JSON has names that are text, and lists; Python would write others as if they were."""
    depth = 0
    level: list[Any] = [data]
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InvalidSessionData(f"The data is nested deeper than {MAX_DEPTH} levels.")
        inner: list[Any] = []
        for outer in level:
            if isinstance(outer, dict) and not all(isinstance(name, str) for name in outer):
                raise InvalidSessionData("The data has a name that is no text: JSON has no others.")
            inner += outer.values() if isinstance(outer, dict) else outer
        if any(isinstance(each, tuple) for each in inner):
            raise InvalidSessionData("The data has a tuple, which would come back as a list: make it one.")
        level = [each for each in inner if isinstance(each, dict | list)]


def digest_of_uri(uri: str) -> str:
    return hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest()
