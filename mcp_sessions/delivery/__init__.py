"""The stream primitive at work: append, follow, ask and answer.

`hub` is the door to the room. `writer` stores what is sent, `follower` reads one stream for one
connection, `connections` has all of this process's. `calls` and `questions` are what runs and
waits here; `inboxes` brings what other processes have for them. `bell` and `poller` tell that
there is something new, `workers` who is alive, and `orphans` ends what the dead have left.
"""

from __future__ import annotations

from mcp_sessions.delivery.calls import KNOWN_SECONDS, RunningCall
from mcp_sessions.delivery.clock import store_now
from mcp_sessions.delivery.follower import (
    Beat,
    Closing,
    Follower,
    Item,
    Notice,
    Rotated,
    limit_notice,
    revoked_notice,
    warning_notice,
)
from mcp_sessions.delivery.hub import Hub, get_hub
from mcp_sessions.delivery.once import claim_or_wait, settle, unclaim
from mcp_sessions.delivery.patience import AWAY_SECONDS, patiently

__all__ = [
    "AWAY_SECONDS",
    "KNOWN_SECONDS",
    "Beat",
    "Closing",
    "Follower",
    "Hub",
    "Item",
    "Notice",
    "Rotated",
    "RunningCall",
    "claim_or_wait",
    "get_hub",
    "limit_notice",
    "patiently",
    "revoked_notice",
    "settle",
    "store_now",
    "unclaim",
    "warning_notice",
]
