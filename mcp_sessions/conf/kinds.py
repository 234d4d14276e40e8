"""What the value of each option may be."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mcp_sessions.conf.options import HANDSHAKE_REVISIONS, MODERN_REVISIONS
from mcp_sessions.conf.rates import parse_rate

_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s]+", re.IGNORECASE)
"""As browsers send it: scheme, host and port."""
MOST_SECONDS: Final = 10**10
"""Three hundred years: so long ago, and so long from now, there is a date."""
LEAST_ID_LENGTH: Final = 64
LEAST_HEADER_BYTES: Final = 4096
RATE_SCOPES: Final = ("session", "principal", "address", "opening")
"""What RATE_LIMITS may limit."""
MOST_BITS: Final = 661
"""What 128 characters of 36 carry; an id has no more of them."""
BOUND: Final = ("address", "user_agent")
"""What SESSION_BINDING may bind a session to besides its user."""
PREFIXES: Final[Mapping[str, int]] = {"ipv4_prefix": 32, "ipv6_prefix": 128}
"""How many leading bits of an address count, at most."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of value: in words, and whether something is one."""

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
    return _is_plain(value) and 0 < value <= MOST_SECONDS


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)


def _is_origins(value: Any) -> bool:
    return _is_texts(value) and all(each in {"*", "null"} or _ORIGIN.fullmatch(each) for each in value)


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
BITS: Final = Kind(
    f"a number of bits from 128 to {MOST_BITS}: fewer can be guessed, more need more than 128 characters",
    lambda value: _is_number(value) and 128 <= value <= MOST_BITS,
)

KINDS: Final[Mapping[str, Kind]] = {
    "SESSION_STORE": Kind('{"BACKEND": dotted path, "OPTIONS": {…}}', _is_backend),
    "SESSION_SERIALIZER": Kind("the dotted path of what has dumps and loads", _is_text),
    "SESSION_ROWS": BOOLEAN,
    "STORE_THREADS": COUNT,
    "STORE_TIMEOUT": SECONDS,
    "STORE_LOCK_SECONDS": SECONDS,
    "TOOL_THREADS": COUNT,
    "SESSION_ID_ENTROPY": BITS,
    "SESSION_ID_GENERATOR": Kind("a dotted path, a callable that is hashable, or None", _is_generator),
    "SESSION_VALIDATION": one_of("strict", "lenient"),
    "ROTATION_GRACE_SECONDS": SECONDS,
    "SESSION_BINDING": Kind(
        '{"user": "reject"}, with "address" and "user_agent" ("reject", "log" or None), and with an address '
        '"ipv4_prefix" (1 to 32) and "ipv6_prefix" (1 to 128); a session is always bound to its user',
        _is_binding,
    ),
    "SESSION_TIMEOUT": SECONDS,
    "SESSION_REFRESH_THRESHOLD": SECONDS.or_none(),
    "IDLE_TIMEOUT": SECONDS.or_none(),
    "MAX_SESSION_LIFETIME": SECONDS.or_none(),
    "UNUSED_SECONDS": SECONDS.or_none(),
    "ANONYMOUS_HANDLE_SECONDS": SECONDS.or_none(),
    "TOUCH_SECONDS": SECONDS,
    "SESSION_CLEANUP_INTERVAL": SECONDS,
    "SESSION_GC_THRESHOLD": COUNT.or_none(),
    "KEEP_ENDED_SECONDS": SECONDS_OR_ZERO,
    "PURGE_BATCH": COUNT,
    "MAX_SESSIONS_PER_CLIENT": COUNT.or_none(),
    "MAX_SESSIONS": COUNT.or_none(),
    "SESSION_REPLACEMENT_POLICY": one_of("reject", "replace_oldest"),
    "RATE_LIMITS": Kind(
        'a dict of "session", "principal", "address" and "opening", each with a rate such as "600/min" or '
        '"600/min, burst 100", or None',
        _is_rates,
    ),
    "RATE_LIMITS_OUTAGE": one_of("serve", "refuse"),
    "TRUSTED_PROXIES": COUNT_OR_ZERO,
    "MAX_CONNECTIONS_PER_SESSION": COUNT.or_none(),
    "MAX_STREAMS_PER_CLIENT": COUNT.or_none(),
    "MAX_LEFT_STREAMS": COUNT.or_none(),
    "MAX_CALLS_PER_SESSION": COUNT.or_none(),
    "EDIT_TIMEOUT": SECONDS,
    "HEARTBEAT_SECONDS": SECONDS,
    "STREAM_AFTER_SECONDS": SECONDS,
    "RETRY_MILLISECONDS": COUNT,
    "RETRY_FIRST": BOOLEAN,
    "PRIMING_EVENTS": BOOLEAN,
    "CLIENT_REPLY_SECONDS": SECONDS,
    "MAX_QUESTIONS": COUNT.or_none(),
    "MAX_ANSWER_BYTES": COUNT,
    "CHANNEL_LAYER": Kind("the alias of a channel layer", _is_text).or_none(),
    "POLL_SECONDS": SECONDS,
    "WORKER_TIMEOUT": SECONDS,
    "EVENT_SECONDS": SECONDS,
    "MAX_EVENTS": COUNT,
    "MAX_EVENT_BYTES": COUNT,
    "MAX_PENDING": COUNT.or_none(),
    "MAX_PENDING_BYTES": COUNT.or_none(),
    "STALL_SECONDS": SECONDS,
    "BUFFER_BYTES": COUNT,
    "QUEUE_BYTES": COUNT,
    "SESSION_WARNING_SECONDS": SECONDS.or_none(),
    "DRAIN_SECONDS": SECONDS,
    "SESSION_METRICS": Kind(
        'True or False, a dotted path, {"BACKEND": dotted path, "OPTIONS": {…}}, or a list of these',
        _is_metrics,
    ).or_none(),
    "MAX_HEADER_BYTES": Kind(
        f"a whole number, {LEAST_HEADER_BYTES} or greater: what clients and proxies send must fit",
        lambda value: _is_whole(value) and value >= LEAST_HEADER_BYTES,
    ),
    "MAX_BODY_BYTES": COUNT,
    "BODY_SECONDS": SECONDS,
    "MAX_DEPTH": COUNT,
    "MAX_BATCH": COUNT,
    "MAX_CLIENT_BYTES": COUNT,
    "MAX_ID_LENGTH": Kind(
        f"a whole number, {LEAST_ID_LENGTH} or greater: every method must fit",
        lambda value: _is_whole(value) and value >= LEAST_ID_LENGTH,
    ),
    "MAX_SUBSCRIPTIONS": COUNT.or_none(),
    "MAX_URI_LENGTH": COUNT,
    "MAX_DATA_BYTES": COUNT,
    "AUTHENTICATORS": Kind(
        'a list of dotted paths, or of {"BACKEND": dotted path, "OPTIONS": {…}}', _is_authenticators
    ),
    "REQUIRES": Kind(
        '{"tools", "resources" or "prompts": {pattern: {"scopes": […], "permissions": ["app.codename"]}}}',
        _is_requires,
    ),
    "REQUIRED_SCOPES": Kind("a list of scopes", _is_scopes),
    "AUTHORIZATION_SERVERS": Kind("a list of URLs", _is_urls),
    "RESOURCE_URL": Kind("a URL without query and fragment", _is_url).or_none(),
    "ALLOWED_ORIGINS": Kind(
        'a list of origins, such as "https://app.example.com" (no path), or "*"', _is_origins
    ),
    "SESSION_LOGGER": Kind("the name of a logger: where its lines go, LOGGING says", _is_text),
    "SESSION_DEBUG": BOOLEAN,
    "STRICT_ACCEPT": BOOLEAN,
    "REVISIONS": some_of(*HANDSHAKE_REVISIONS, *MODERN_REVISIONS),
    "POST_THROUGH_DJANGO": BOOLEAN,
}
