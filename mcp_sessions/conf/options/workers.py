from __future__ import annotations

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class Workers(OptionGroup):
    """[Workers](workers.md) explains how processes share sessions, and what happens when one dies."""

    title = "Run several processes"

    CHANNEL_LAYER = Option[str | None](
        "default",
        kinds.LAYER_ALIAS.or_none(),
        "The alias of the Channels layer for notifications between processes. `None`: processes poll the "
        "store. A layer in memory is not shared, and counts as none.",
        for_process=True,
    )
    POLL_SECONDS = Option[float](
        0.2,
        kinds.SECONDS,
        "Seconds between two queries of a process for what other processes have stored, if no shared "
        "channel layer notifies it. It is one query for all sessions and streams. With a shared layer the "
        "interval is ten times as long.",
        for_process=True,
    )
    WORKER_TIMEOUT = Option[float](
        15,
        kinds.SECONDS,
        "Seconds without a heartbeat after which a worker counts as lost, and its calls end with "
        "`worker_lost`. A worker sends a heartbeat every third of this time, from a thread of its own.",
        for_process=True,
    )
    DRAIN_SECONDS = Option[float](
        20,
        kinds.SECONDS,
        "Seconds for which a stopping process lets running calls finish. Calls that are unfinished then "
        "end with `worker_lost`. The process manager must wait for 40 seconds longer before it kills a "
        "process ([Grace period](workers.md#grace-period)).",
        for_process=True,
    )
