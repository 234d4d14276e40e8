"""The process's receivers of metrics, as SESSION_METRICS names them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.utils.module_loading import import_string

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.metrics.base import SessionMetrics
from mcp_sessions.metrics.counting import forget_count

STATSD: Final = "mcp_sessions.metrics.statsd.StatsDMetrics"

_making = threading.Lock()

logger = logging.getLogger("mcp_sessions.metrics")


def chosen() -> list[Mapping[str, Any]]:
    """What SESSION_METRICS names, each as {"BACKEND": dotted path, "OPTIONS": {…}}."""
    value = app_settings.SESSION_METRICS
    entries = value if isinstance(value, list | tuple) else [value]
    return [_in_full(entry) for entry in entries if entry]


def _in_full(entry: Any) -> Mapping[str, Any]:
    if isinstance(entry, Mapping):
        return entry
    return {"BACKEND": STATSD if entry is True else entry}


@dataclass(frozen=True, slots=True)
class Made:
    """What became of an entry of SESSION_METRICS: the receiver, or why there is none."""

    backend: str
    metrics: SessionMetrics | None = None
    error: Exception | None = None


def get_metrics() -> tuple[SessionMetrics, ...]:
    """The process's receivers, made at the first call; none unless SESSION_METRICS names one.

    One that cannot be made is left out, and said in the log: where the checks run nothing starts with it,
    but a Celery worker runs none, and the others have to count there all the same.
    """
    return tuple(each.metrics for each in get_made() if each.metrics is not None)


def get_made() -> tuple[Made, ...]:
    """What became of each entry."""
    with _making:
        return _make_all()


@lru_cache(maxsize=1)
def _make_all() -> tuple[Made, ...]:
    return tuple(map(_try_to_make, chosen()))


def _try_to_make(entry: Mapping[str, Any]) -> Made:
    backend = entry["BACKEND"]
    try:
        return Made(backend, _make(entry))
    except Exception as error:  # A constructor may raise anything.
        logger.error("%s of SESSION_METRICS cannot be made: %s", backend, error)
        return Made(backend, error=error)


def _make(entry: Mapping[str, Any]) -> SessionMetrics:
    made = import_string(entry["BACKEND"])(**entry.get("OPTIONS", {}))
    if not isinstance(made, SessionMetrics):
        raise ConfigurationError(f"{entry['BACKEND']} is not a SessionMetrics.")
    return made


def forget_metrics() -> None:
    """Give back what they hold; others are made when they are asked for again."""
    if _make_all.cache_info().currsize:
        for metrics in get_metrics():
            metrics.close()
    _make_all.cache_clear()
    forget_count()
