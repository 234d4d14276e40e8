from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class SessionIds(OptionGroup):
    """A session id is a credential: it opens the session to everybody who may act for its owner."""

    title = "Change session ids"

    SESSION_ID_ENTROPY = Option[float](
        165,
        kinds.BITS,
        "The random bits of a session id. The id has ceil(bits / log2 36) characters: 165 bits make the "
        "32 characters that the guide's validator expects, 256 make 50. The least is 128, as in the "
        "guide. The most is 661, which fill 128 characters.",
        guide="(256)",
    )
    SESSION_ID_GENERATOR = Option[str | Callable[[], str] | None](
        None,
        kinds.GENERATOR,
        "A callable without arguments, or its dotted path, that makes session ids; see [Session ids of "
        "your own](#session-ids-of-your-own).",
    )
    SESSION_VALIDATION = Option[Literal["strict", "lenient"]](
        "strict",
        kinds.one_of("strict", "lenient"),
        'Which ids are looked up in the store at all. `"strict"`: only ids of the form that the generator '
        'makes. `"lenient"`: any URL-safe id of 22 to 128 characters. Use it after you have changed the '
        "generator or the entropy, until the older sessions have ended.",
        guide="(`:strict`)",
    )
    ROTATION_GRACE_SECONDS = Option[float](
        30,
        kinds.SECONDS,
        "Seconds for which the old id still opens a session after a [rotation](sessions.md#rotating-ids). "
        "They are for requests in flight, and for a stream that is reconnecting.",
    )
