"""Tools whose calls happen once: @once, and the setting ONCE."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

from mcp_sessions.conf import AppSettings
from mcp_sessions.identifiers import digest_of
from mcp_sessions.security.requirements import layers

T = TypeVar("T")

MARK: Final = "__mcp_sessions_once__"

_marked: list[int] = [0]
"""How often @once was applied in this process."""


@dataclass(frozen=True, slots=True)
class Once:
    """How a tool's calls happen once; see once()."""

    key: tuple[str, ...] = ()
    within: float | None = None
    rerun_if_lost: bool = False

    def key_of(self, arguments: Mapping[str, Any]) -> Any:
        """What two calls that are the same have in common; None for a call that has no key."""
        if not self.key:
            return arguments
        values = [arguments.get(name) for name in self.key]
        return None if all(value is None for value in values) else values


def once(
    *, key: str | Iterable[str] | None = None, within: float | None = None, rerun_if_lost: bool = False
) -> Callable[[T], T]:
    """Have each call of a tool happen once: a call that is sent again gets the outcome of the first.

    Calls are the same if they come from the same principal in the same session and have the same `key`, which
    is the name of an argument, or several names. Without a key, all their arguments are the same. The outcome
    is kept for `within` seconds; for ONCE_SECONDS if there is a key and no `within`.

    A call whose worker was lost is not run again, since nobody knows how far it came. `rerun_if_lost` says
    that this tool may be run again then.

    It goes below or above the decorator that makes the function a tool. Raises TypeError without a key and a
    time, and if the function has no such argument.
    """
    declared = once_from({"key": key, "within": within, "rerun_if_lost": rerun_if_lost})

    def mark(component: T) -> T:
        function: Any = getattr(component, "fn", component)
        function = getattr(function, "__func__", function)
        if unknown := unknown_arguments(function, declared.key):
            raise TypeError(f"once(): {function.__name__}() has no argument {unknown[0]!r}.")
        setattr(function, MARK, declared)
        _marked[0] += 1
        return component

    return mark


def once_from(options: Mapping[str, Any]) -> Once:
    """The same from an entry of ONCE. Raises TypeError."""
    key, within = options.get("key"), options.get("within")
    if key is None and within is None:
        raise TypeError('once() takes the name of an argument, key="order_id", or a time, within=3600.')
    names = () if key is None else (key,) if isinstance(key, str) else tuple(key)
    return Once(names, within, bool(options.get("rerun_if_lost", False)))


def unknown_arguments(function: Any, names: Iterable[str]) -> list[str]:
    """Those of the names that are no arguments of the function."""
    parameters = inspect.signature(function).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return []
    return [name for name in names if name not in parameters]


def declarations(endpoint: str) -> tuple[int, Mapping[str, Any]] | None:
    """What says which tools of the endpoint happen once: another value once it may say something else.

    None where nothing is declared.
    """
    table = AppSettings(endpoint).ONCE
    return (_marked[0], table) if _marked[0] or table else None


def once_of(component: Any, name: str, endpoint: str) -> Once | None:
    """What @once or else ONCE says of a tool with this name."""
    for each in layers(component):
        if (declared := getattr(each, "__dict__", {}).get(MARK)) is not None:
            return declared  # type: ignore[no-any-return]
    for pattern, options in AppSettings(endpoint).ONCE.items():
        if fnmatchcase(name, pattern):
            return once_from(options)
    return None


def name_of(*parts: Any) -> str:
    """The name by which stores know a call: a digest, from which no argument can be read."""
    return digest_of(json.dumps(_canonical(parts), sort_keys=True, separators=(",", ":")))


def _canonical(value: Any) -> Any:
    """JSON has one kind of numbers: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(inner) for inner in value]
    return value
