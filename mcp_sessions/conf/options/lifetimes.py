from __future__ import annotations

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class Lifetimes(OptionGroup):
    """[Sessions](sessions.md) explains how these options work together."""

    title = "Say how long sessions live"

    SESSION_TIMEOUT = Option[float](
        1800,
        kinds.SECONDS,
        "Seconds after its last request when a session expires. An open stream of a specification client "
        "counts as a request. An open stream of a session guide client does not.",
        guide="1800",
    )
    SESSION_REFRESH_THRESHOLD = Option[float | None](
        None,
        kinds.SECONDS.or_none(),
        "A request extends a session only if fewer seconds than this remain. `None`: every request "
        "extends it.",
        guide="(300)",
    )
    IDLE_TIMEOUT = Option[float | None](
        None,
        kinds.SECONDS.or_none(),
        "Seconds without a request after which a session expires, unless a stream of it is open or a call "
        "of it runs. The default differs from the guide's five minutes, which would end the sessions of "
        "people who think.",
        guide="300",
    )
    MAX_SESSION_LIFETIME = Option[float | None](
        None,
        kinds.SECONDS.or_none(),
        "Seconds after its opening when a session expires, however much it is used.",
    )
    UNUSED_SECONDS = Option[float | None](
        60,
        kinds.SECONDS.or_none(),
        "Seconds after which a session that a GET opened ends, counted from the end of its stream, if it "
        "was never used: no request, no message to it, no reconnection. The reason is `unused`. Some "
        "bridges (which connect a client that speaks stdio to a URL) open such a session at every start, and "
        "never end it. `None`: it expires like any other.",
    )
    ANONYMOUS_HANDLE_SECONDS = Option[float | None](
        24 * 3600,
        kinds.SECONDS.or_none(),
        "Seconds after its opening when a session of 2026-07-28 that belongs to no principal ends, "
        "however much it is used. Whoever has its handle has the session, and handles end up in chat "
        "transcripts. `None`: no limit.",
    )
    SESSION_WARNING_SECONDS = Option[float | None](
        60,
        kinds.SECONDS.or_none(),
        "Seconds before the end of a session when session guide clients get `session-warning` on their "
        "open streams, once per end. `None`: no warning.",
    )
    TOUCH_SECONDS = Option[float](
        10,
        kinds.SECONDS,
        "Seconds between two writes of last-used times. A process collects them and writes them in one "
        "batch, so that a call that is answered at once costs no write.",
    )
