"""The stream primitive at work: append, follow, request and answer, across processes.

An event goes this way, from what sends it to a client at another worker:

1. `hub` (`append`, `send`) queues it at the `writer`, which stores what waits in batches.
2. `handover` gets what was stored: `connections` of this process are offered it, and `notifications` sends
   the names of the streams to the other processes.
3. There `channel_layer` or `poller` brings the names to `changes`, which has the `follower` of each stream
   read on. Each `follower` serves one connection.

`calls` and `pending_requests` are what runs and waits here, `inboxes` what other processes have for them,
`inbox_messages` what is done about it. `workers` has the heartbeat, `failover` ends what lost workers have
left, `drain` brings the process to rest. `protocols` names which part hears of what.
"""

from __future__ import annotations

from mcp_sessions.delivery.calls import KNOWN_SECONDS, LOST, RunningCall
from mcp_sessions.delivery.clock import store_now
from mcp_sessions.delivery.follower import (
    Closing,
    Follower,
    Item,
    KeepAlive,
    Notice,
    Rotated,
    limit_notice,
    revoked_notice,
    warning_notice,
)
from mcp_sessions.delivery.hub import Hub, get_hub
from mcp_sessions.delivery.once import claim_or_wait, settle, unclaim
from mcp_sessions.delivery.retry import RETRY_SECONDS, with_retry

__all__ = [
    "KNOWN_SECONDS",
    "LOST",
    "RETRY_SECONDS",
    "Closing",
    "Follower",
    "Hub",
    "Item",
    "KeepAlive",
    "Notice",
    "Rotated",
    "RunningCall",
    "claim_or_wait",
    "get_hub",
    "limit_notice",
    "revoked_notice",
    "settle",
    "store_now",
    "unclaim",
    "warning_notice",
    "with_retry",
]
