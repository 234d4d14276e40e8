from __future__ import annotations

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class Purging(OptionGroup):
    """An expired session is refused at once. Its row is deleted later ([Operations](operations.md))."""

    title = "Delete expired sessions"

    SESSION_CLEANUP_INTERVAL = Option[float](
        300,
        kinds.SECONDS,
        "Seconds between two purges by Celery beat, and between two checks of a server process whether "
        "there is something to purge.",
        guide="300",
        for_process=True,
    )
    SESSION_GC_THRESHOLD = Option[int | None](
        1000,
        kinds.COUNT.or_none(),
        "The number of expired and ended sessions above which a server process purges them by itself "
        "([operations.md](operations.md)). `None`: server processes never purge.",
        guide="1000",
        for_process=True,
    )
    KEEP_ENDED_SECONDS = Option[float](
        24 * 3600,
        kinds.SECONDS_OR_ZERO,
        "Seconds that the row of an ended session is kept, for the admin and for exact statistics. A row "
        "is never deleted before the hour of its end was counted ([analytics.md](analytics.md)). The "
        "events of the session are deleted after `EVENT_SECONDS`. `0`: the next purge deletes the row, "
        "and no hours are counted.",
        for_process=True,
    )
    KEEP_REFUSALS_SECONDS = Option[float](
        7 * 24 * 3600,
        kinds.SECONDS_OR_ZERO,
        "Seconds for which the admin and the dashboard show a refused request "
        "([admin.md](admin.md#refusals)). `0`: the app stores nothing about refused requests.",
        for_process=True,
    )
    MAX_REFUSALS = Option[int](
        1000,
        kinds.COUNT,
        "The number of different refusals that one process stores for each hour. They differ in endpoint, "
        "reason, address, owner or session. Further ones of that hour share the address `others`, so a "
        "flood from many addresses makes few rows.",
        for_process=True,
    )
    PURGE_BATCH = Option[int](
        500,
        kinds.COUNT,
        "The number of sessions that one transaction of a purge deletes. It is fewer for sessions with "
        "very many events, so that a purge never locks rows for long.",
        for_process=True,
    )
