from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class OnceOnly(OptionGroup):
    """Some tools must not run twice for one call; see [Tools](tools.md#calls-that-must-happen-once)."""

    title = "Let a call happen once"

    ONCE = Option[Mapping[str, Any]](
        {},
        kinds.ONCE,
        'The tools whose calls happen once, for server objects that you cannot edit: `{"pay_*": {"key": '
        '"order_id"}}`. The keys are patterns of names. An entry has a `key`, `within` or both, and may have '
        "`rerun_if_lost`, as `@once` has.",
    )
    ONCE_SECONDS = Option[float](
        24 * 3600,
        kinds.SECONDS,
        "Seconds for which the outcome of a call with a key is kept, if its tool does not say `within`.",
    )
    MAX_ONCE_CALLS = Option[int | None](
        1000,
        kinds.COUNT.or_none(),
        "Such calls of one session that run or whose outcome is kept. One more is refused by a tool error, "
        "because an older call that was forgotten could happen twice.",
    )
    MAX_ONCE_BYTES = Option[int](
        64 * 1024,
        kinds.COUNT,
        "Bytes of such an outcome. Of a longer one only the fact is kept that the call has happened.",
    )
