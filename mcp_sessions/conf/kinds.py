"""Kinds of values that options take: what is one, and how to say so."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcp_sessions.conf.rates import parse_rate

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", re.IGNORECASE)
"""As browsers send it: scheme, host and port."""
MAX_SECONDS: Final = 10**10
"""Three hundred years: so long ago, and so long from now, there is a date."""
LEAST_ID_LENGTH: Final = 64
LEAST_HEADER_BYTES: Final = 4096
RATE_SCOPES: Final = ("session", "principal", "address", "opening")
"""What RATE_LIMITS may limit."""
MAX_BITS: Final = 661
"""What 128 characters of 36 carry; an id has no more of them."""
BOUND: Final = ("address", "user_agent")
"""What SESSION_BINDING may bind a session to besides its user."""
PREFIXES: Final[Mapping[str, int]] = {"ipv4_prefix": 32, "ipv6_prefix": 128}
"""How many leading bits of an address count, at most."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value. `words` ends the sentence "It must be …"."""

    words: str
    admits: Callable[[Any], bool]

    def or_none(self) -> Kind:
        return Kind(f"{self.words}, or None", lambda value: value is None or self.admits(value))


def one_of(*choices: str) -> Kind:
    words = " or ".join(f'"{choice}"' for choice in choices)
    return Kind(words, lambda value: isinstance(value, str) and value in choices)


def some_of(*choices: str) -> Kind:
    words = "a list of " + ", ".join(f'"{choice}"' for choice in choices) + ", or of some of these"
    return Kind(words, lambda value: _is_texts(value) and bool(value) and set(value) <= set(choices))


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_plain(value) and 0 < value <= MAX_SECONDS


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_origins(value: Any) -> bool:
    return _is_texts(value) and all(each in {"*", "null"} or _ORIGIN.fullmatch(each) for each in value)


def _is_sse_paths(value: Any) -> bool:
    return _is_texts(value) and len(set(value)) == len(value) in {0, 2} and all(map(is_path, value))


def is_path(value: Any) -> bool:
    """Whether it is a path as SERVERS has them."""
    return isinstance(value, str) and value.startswith("/") and value.rstrip("/") == value


def _is_authenticators(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(_is_text(each) or _is_backend(each) for each in value)


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"https?://[^/?#\s]+[^?#\s]*", value) is not None


def _is_urls(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_is_url, value))


def _is_scopes(value: Any) -> bool:
    """Words of printable ASCII without quotes and backslashes (RFC 6749, 3.3)."""
    return _is_texts(value) and all(re.fullmatch(r"[!#-\[\]-~]+", each) for each in value)


def _is_requires(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= {"tools", "resources", "prompts"}
        and all(isinstance(each, dict) and all(map(_is_requirement, each.items())) for each in value.values())
    )


def _is_requirement(entry: tuple[Any, Any]) -> bool:
    pattern, wanted = entry
    if not _is_text(pattern) or not isinstance(wanted, dict) or not wanted:
        return False
    permissions = wanted.get("permissions", ())
    return (
        set(wanted) <= {"scopes", "permissions"}
        and _is_scopes(wanted.get("scopes", ()))
        and _is_texts(permissions)
        and all(re.fullmatch(r"\w+\.\w+", each) for each in permissions)
    )


def _is_once(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_once_entry, value.items()))


def _is_once_entry(entry: tuple[Any, Any]) -> bool:
    pattern, options = entry
    if not _is_text(pattern) or not isinstance(options, dict) or not options.keys() & {"key", "within"}:
        return False
    key, within = options.get("key", "-"), options.get("within", 1)
    return (
        set(options) <= {"key", "within", "rerun_if_lost"}
        and (_is_text(key) or (_is_texts(key) and bool(key) and all(key)))
        and _is_number(within)
        and isinstance(options.get("rerun_if_lost", False), bool)
    )


def _is_generator(value: Any) -> bool:
    # What ids look like is kept by generator, hence hashable.
    return value is None or _is_text(value) or (callable(value) and isinstance(value, Hashable))


def _is_backend(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("BACKEND"), str)
        and isinstance(value.get("OPTIONS", {}), dict)
        and set(value) <= {"BACKEND", "OPTIONS"}
    )


def _is_metrics(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(each is True or _is_text(each) or _is_backend(each) for each in value)
    return isinstance(value, bool) or _is_text(value) or _is_backend(value)


def _is_binding(value: Any) -> bool:
    if not isinstance(value, dict) or not value.keys() <= {"user", *BOUND, *PREFIXES}:
        return False
    if value.get("user", "reject") != "reject" or (value.keys() & PREFIXES and "address" not in value):
        return False
    policies = all(value.get(what) in (None, "reject", "log") for what in BOUND)
    return policies and all(
        _is_whole(value.get(name, most)) and 0 < value.get(name, most) <= most
        for name, most in PREFIXES.items()
    )


def _is_rates(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        name in RATE_SCOPES and (rate is None or _is_rate(rate)) for name, rate in value.items()
    )


def _is_rate(value: Any) -> bool:
    try:
        parse_rate(value)
    except (ValueError, TypeError):
        return False
    return True


SECONDS: Final = Kind("a number of seconds greater than 0", _is_number)
SECONDS_OR_ZERO: Final = Kind(
    "a number of seconds, 0 or greater", lambda value: _is_number(value) or (_is_plain(value) and value == 0)
)
COUNT: Final = Kind("a whole number greater than 0", lambda value: _is_whole(value) and value > 0)
COUNT_OR_ZERO: Final = Kind("a whole number, 0 or greater", lambda value: _is_whole(value) and value >= 0)
BOOLEAN: Final = Kind("True or False", lambda value: isinstance(value, bool))
SSE_PATHS: Final = Kind(
    "two different paths, each with a slash at its beginning and none at its end, or an empty list",
    _is_sse_paths,
)
BITS: Final = Kind(
    f"a number of bits from 128 to {MAX_BITS}",
    lambda value: _is_number(value) and 128 <= value <= MAX_BITS,
)
HEADER_BYTES: Final = Kind(
    f"a whole number, {LEAST_HEADER_BYTES} or greater, so that the headers of clients and proxies fit",
    lambda value: _is_whole(value) and value >= LEAST_HEADER_BYTES,
)
ID_LENGTH: Final = Kind(
    f"a whole number, {LEAST_ID_LENGTH} or greater, so that every method fits",
    lambda value: _is_whole(value) and value >= LEAST_ID_LENGTH,
)
STORE: Final = Kind('{"BACKEND": dotted path, "OPTIONS": {…}}', _is_backend)
SERIALIZER: Final = Kind("the dotted path of an object with dumps and loads", _is_text)
GENERATOR: Final = Kind("a dotted path, a hashable callable, or None", _is_generator)
BINDING: Final = Kind(
    '{"user": "reject"}, to which you may add "address" and "user_agent" ("reject", "log" or None) and, with '
    'an address, "ipv4_prefix" (1 to 32) and "ipv6_prefix" (1 to 128)',
    _is_binding,
)
RATES: Final = Kind(
    'a dict of "session", "principal", "address" and "opening", each with a rate such as "600/min" or '
    '"600/min, burst 100", or None',
    _is_rates,
)
LAYER_ALIAS: Final = Kind("the alias of a channel layer", _is_text)
METRICS: Final = Kind(
    'True or False, a dotted path, {"BACKEND": dotted path, "OPTIONS": {…}}, or a list of these', _is_metrics
)
AUTHENTICATORS: Final = Kind(
    'a list of dotted paths, or of {"BACKEND": dotted path, "OPTIONS": {…}}', _is_authenticators
)
REQUIREMENTS: Final = Kind(
    '{"tools", "resources" or "prompts": {pattern: {"scopes": […], "permissions": ["app.codename"]}}}',
    _is_requires,
)
ONCE: Final = Kind(
    '{pattern of names: {"key": an argument or several, "within": seconds, "rerun_if_lost": bool}}, '
    "each with a key or a time",
    _is_once,
)
FUNCTION: Final = Kind("a dotted path or a function", lambda value: _is_text(value) or callable(value))
SCOPES: Final = Kind("a list of scopes", _is_scopes)
URL: Final = Kind("a URL without query and fragment", _is_url)
URLS: Final = Kind("a list of URLs", _is_urls)
ORIGINS: Final = Kind('a list of origins, such as "https://app.example.com" (no path), or "*"', _is_origins)
LOGGER: Final = Kind("the name of a logger; LOGGING says where its lines go", _is_text)
