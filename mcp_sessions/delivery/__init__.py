"""The stream primitive at work: append, follow, ask and answer.

`Hub` is the door to the room; `writer` stores what is appended, `follower` reads one stream for
one connection.
"""

from __future__ import annotations

from mcp_sessions.delivery.follower import (
    Beat,
    Closing,
    Follower,
    Item,
    Notice,
    limit_notice,
    warning_notice,
)
from mcp_sessions.delivery.hub import Hub, RunningCall, get_hub

__all__ = [
    "Beat",
    "Closing",
    "Follower",
    "Hub",
    "Item",
    "Notice",
    "RunningCall",
    "get_hub",
    "limit_notice",
    "warning_notice",
]
