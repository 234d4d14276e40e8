from __future__ import annotations

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class Bounds(OptionGroup):
    """They protect the memory and the database of the server. Raise them if your clients send more."""

    title = "Limit the size of requests"

    MAX_HEADER_BYTES = Option[int](
        32 * 1024,
        kinds.HEADER_BYTES,
        "Bytes of a request's headers and query string. A larger request is answered 431. The least is "
        "4096. Servers have limits of their own: 64 KiB in uvicorn with h11, none with httptools.",
    )
    MAX_BODY_BYTES = Option[int](
        4 * 1024 * 1024,
        kinds.COUNT,
        "Bytes of a POST. A larger one is answered 413 before it is parsed.",
    )
    BODY_SECONDS = Option[float](
        60,
        kinds.SECONDS,
        "Seconds in which the body of a POST must arrive. A slower one is answered 408, and its "
        "connection is closed. This works in the mount under uvicorn; [security.md](security.md#bounds) "
        "says what other servers do.",
    )
    MAX_DEPTH = Option[int](
        100,
        kinds.COUNT,
        "Levels of nested objects and arrays in a body. A deeper one is answered 400.",
    )
    MAX_ID_LENGTH = Option[int](
        256,
        kinds.ID_LENGTH,
        "Characters of a request's id, a progress token and a method, which are stored and logged. A "
        "longer one is answered 400. The least is 64.",
    )
    MAX_BATCH = Option[int](
        50,
        kinds.COUNT,
        "Messages in one batch. Only 2025-03-26 has batches.",
    )
    MAX_CLIENT_BYTES = Option[int](
        64 * 1024,
        kinds.COUNT,
        "Bytes, as JSON, of what a client says about itself in `initialize`, which is stored with the "
        "session. More is refused with -32602, and no session is opened.",
    )
    MAX_SUBSCRIPTIONS = Option[int | None](
        200,
        kinds.COUNT.or_none(),
        "Resources to which one session may be subscribed. One more is refused with -32602 (`data.reason` "
        "is `subscription_limit`).",
    )
    MAX_URI_LENGTH = Option[int](
        2048,
        kinds.COUNT,
        "Characters of the URI in a subscription. A longer one is refused with -32602 (`data.reason` is "
        "`uri_length`).",
    )
    MAX_REQUESTS_TO_CLIENT = Option[int | None](
        50,
        kinds.COUNT.or_none(),
        "Requests to one session's client (elicitation, sampling, roots, ping) that wait for an answer, "
        "in all processes. One more fails in the tool.",
    )
    MAX_CLIENT_REPLY_BYTES = Option[int](
        4 * 1024 * 1024,
        kinds.COUNT,
        "Bytes of the client's answer to such a request. A larger one is answered 413. An answer that no "
        "request waits for is not stored at all.",
    )
