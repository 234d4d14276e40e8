from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class Observing(OptionGroup):
    """[Logs](logging.md) lists the log lines, [Metrics](metrics.md) the metrics."""

    title = "Log and measure"

    SESSION_LOGGER = Option[str](
        "mcp_sessions.sessions",
        kinds.LOGGER,
        "The name of the logger for what happens to sessions ([logging.md](logging.md)). `LOGGING` says "
        "where its lines go.",
        guide="(a `Logger`)",
    )
    SESSION_DEBUG = Option[bool](
        False,
        kinds.BOOLEAN,
        "Whether each request has a log line (its session, how the session was found or why not, and the "
        "answer), and all other lines of the app are shown, down to DEBUG.",
        guide="(`true`)",
    )
    SESSION_METRICS = Option[bool | str | Mapping[str, Any] | list[Any] | tuple[Any, ...] | None](
        None,
        kinds.METRICS.or_none(),
        'The receivers of metrics: `True` (StatsD), the dotted path of a `SessionMetrics`, `{"BACKEND": '
        'dotted path, "OPTIONS": {…}}`, or a list of these. `None` or `False`: none '
        "([metrics.md](metrics.md)).",
        for_process=True,
    )
