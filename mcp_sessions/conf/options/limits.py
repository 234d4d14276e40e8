from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class Limits(OptionGroup):
    """`None` is no limit. [Security](security.md#bounds) lists what protects a server from a flood."""

    title = "Limit clients"

    MAX_SESSIONS_PER_CLIENT = Option[int | None](
        100,
        kinds.COUNT.or_none(),
        "Live sessions of one principal at an endpoint, or of one address (in IPv6 one /64 network) for "
        "anonymous clients. The guide's five would lock out an office behind one address, and clients "
        "that initialize at every request.",
        guide="5",
    )
    MAX_SESSIONS = Option[int | None](
        None,
        kinds.COUNT.or_none(),
        "Live sessions of one endpoint.",
    )
    SESSION_REPLACEMENT_POLICY = Option[Literal["reject", "replace_oldest"]](
        "replace_oldest",
        kinds.one_of("reject", "replace_oldest"),
        'What happens at these two limits. `"replace_oldest"` ends another session: first one that was '
        "never used since it was opened, then the least recently used, and one with an open stream or a "
        'running call only if there is no other. `"reject"` answers 429 (the client has too many) or 503 '
        "(the endpoint has too many) with `Retry-After`.",
        guide="(`:replace_oldest`)",
    )
    RATE_LIMITS = Option[Mapping[str, str | None]](
        {
            "session": "6000/min, burst 3000",
            "principal": "12000/min, burst 6000",
            "address": "30000/min, burst 15000",
            "opening": "600/min, burst 200",
        },
        kinds.RATES,
        "The rates of messages per session, principal and address, and of new sessions per address; see "
        "[Rate limits](#rate-limits). A key that is missing or `None` is no limit. `{}` switches all of "
        "them off.",
    )
    RATE_LIMITS_OUTAGE = Option[Literal["serve", "refuse"]](
        "serve",
        kinds.one_of("serve", "refuse"),
        'What happens while the store is unavailable. `"serve"`: each process enforces the limits by '
        'itself. `"refuse"`: a request that needs the store\'s count is answered 503.',
    )
    MAX_CONNECTIONS_PER_SESSION = Option[int | None](
        3,
        kinds.COUNT.or_none(),
        "Open GET streams of one session. At the limit the oldest is closed, so that a client is not "
        "locked out by its own half-dead connections.",
        guide="3",
    )
    MAX_STREAMS_PER_CLIENT = Option[int | None](
        1000,
        kinds.COUNT.or_none(),
        "Open GET streams and `subscriptions/listen` streams of one principal in one process, or of one "
        "address for anonymous clients. One more is answered like a request above a [rate "
        "limit](#rate-limits), with the scope `streams`. A stream takes some 26 KB of memory.",
    )
    MAX_LEFT_STREAMS = Option[int | None](
        10,
        kinds.COUNT.or_none(),
        "GET streams of one session that have no connection any more. When another stream is opened, the "
        "messages that wait in them move there, and the oldest of them are deleted. A client that resumes "
        "a deleted stream gets `event_not_found`.",
    )
    MAX_CALLS_PER_SESSION = Option[int | None](
        100,
        kinds.COUNT.or_none(),
        "Requests of one session that a process serves at the same time. A call goes on when its client "
        "disconnects, so the number of connections does not limit them. One more is answered 429 with "
        "`Retry-After`. A batch with more is answered 400 (`data.reason` is `call_limit`). A call of "
        "2026-07-28 counts for the sessions whose handles it names (one more gets a tool error), else for "
        "the session that its principal has without a handle.",
    )
