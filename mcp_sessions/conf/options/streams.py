from __future__ import annotations

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class Streams(OptionGroup):
    """The defaults suit servers behind nginx, with clients that reconnect within an hour."""

    title = "Tune streams"

    HEARTBEAT_SECONDS = Option[float](
        15,
        kinds.SECONDS,
        "Seconds between two keep-alives on an open stream. Proxies close connections that send nothing for "
        "30 or 60 seconds.",
        for_process=True,
    )
    STREAM_AFTER_SECONDS = Option[float](
        1.0,
        kinds.SECONDS,
        "Seconds after which a running call answers by a stream, which its client can resume.",
    )
    RETRY_MILLISECONDS = Option[int](
        1000,
        kinds.COUNT,
        "Milliseconds that clients must wait before they reconnect to a stream.",
    )
    RETRY_FIRST = Option[bool](
        False,
        kinds.BOOLEAN,
        "Whether the first event of a stream has the `retry` field, too. If not, only the event before "
        "the server closes a stream has it. Some clients (Java's) fail on the field. With it, browsers "
        "wait `RETRY_MILLISECONDS` after a broken connection instead of their own 3 to 5 seconds.",
    )
    PRIMING_EVENTS = Option[bool](
        True,
        kinds.BOOLEAN,
        "Whether streams of 2025-11-25 clients begin with a *priming event*: an empty event with an id, from "
        "which the client can resume a stream that broke before anything was sent. Switch it off for a "
        "client that mishandles it.",
    )
    CLIENT_REPLY_SECONDS = Option[float](
        600,
        kinds.SECONDS,
        "Seconds that a tool waits for the client's answer to elicitation, sampling or roots.",
    )
    EVENT_SECONDS = Option[float](
        3600,
        kinds.SECONDS,
        "Seconds that events are kept after their delivery, and streams after their last connection. A "
        "client that was away for no longer can resume.",
        for_process=True,
    )
    MAX_EVENTS = Option[int](
        20_000,
        kinds.COUNT,
        "Delivered events that are kept of one open stream. A delivered event may still be in a buffer on "
        "its way, and a client that lost its connection asks for it again. A client that asks for events "
        "which are no longer kept gets `event_not_found`.",
        for_process=True,
    )
    MAX_EVENT_BYTES = Option[int](
        16 * 1024 * 1024,
        kinds.COUNT,
        "Bytes of the delivered events that are kept of one open stream.",
        for_process=True,
    )
    MAX_PENDING = Option[int | None](
        1000,
        kinds.COUNT.or_none(),
        "Messages that wait for a session without an open stream. One more drops the oldest, with a log "
        "line and a count in the session's metadata (`dropped`). `None`: no limit.",
    )
    MAX_PENDING_BYTES = Option[int | None](
        16 * 1024 * 1024,
        kinds.COUNT.or_none(),
        "Bytes of these messages. More drop the oldest in the same way, and so does a single message that "
        "is larger. The database store and the memory store count the bytes at every 32nd message and at "
        "each message of more than a 64th of the limit, so half as much again may wait for a while. "
        "`None`: no limit.",
    )
    STALL_SECONDS = Option[float](
        60,
        kinds.SECONDS,
        "Seconds for which a client may read nothing of what is sent to it. After that its connection is "
        "closed, with a log line, and it may resume the stream. It is five seconds once the stream has "
        "ended. A slow client that reads something is left alone.",
    )
    BUFFER_BYTES = Option[int](
        1024 * 1024,
        kinds.COUNT,
        "Bytes of one stream that a process keeps in memory for a client that reads slowly, and reads "
        "from the store at once. A single event may be larger.",
        for_process=True,
    )
    QUEUE_BYTES = Option[int](
        16 * 1024 * 1024,
        kinds.COUNT,
        "Bytes of events that wait in a process to be stored. Beyond that, tools that send events wait.",
        for_process=True,
    )
