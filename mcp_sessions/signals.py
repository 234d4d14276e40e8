"""What happens to sessions, as Django signals: each is sent once, in the process that made it happen.

Every receiver is given `session` (a SessionRecord) and `reason` (a short text); `sender` is the
SessionRecord class. Receivers may be plain or async functions. They run after what they are told of
was stored, one after the other, and hold up no request; the Exceptions they raise are logged. A
process that is killed in between sends nothing.

- session_created: reason "initialize", or "stream" for one opened by the guide's GET.
- session_resumed: a client came back to its session or to a stream; reason "stream".
- session_warned: it will expire soon; reason "expiring".
- session_expired: its time ran out; reason "expired" or "idle".
- session_ended: it was ended before; reason "deleted", "replaced", "operator", "unused", or what the
  code that ended it says.
- session_limit_reached: reason "replaced", `session` made room for another; "principal" or
  "server", it was refused (and never stored); "connections", its oldest stream was closed.
- connection_opened, connection_closed: with `stream`, a StreamRecord. Why a connection closed:
  "client" (it left), "replaced", "limit", "polling", "session", "draining",
  "stalled" (it took nothing), "trimmed" (what came next is kept no more), "lost" (its worker died).
- rate_limited: requests were refused by RATE_LIMITS, the `reason` is the limit's key ("session",
  "principal", "address", "opening"), or by MAX_STREAMS_PER_CLIENT ("streams"). `session` is None unless
  the limit is a session's. With `server` (the endpoint's path), `address`, `owner`, and `count`: the first
  refusal of a client is sent at once, those that follow as a number, once per ten seconds.
"""

from __future__ import annotations

from django.dispatch import Signal

session_created = Signal()
session_resumed = Signal()
session_warned = Signal()
session_expired = Signal()
session_ended = Signal()
session_limit_reached = Signal()
connection_opened = Signal()
connection_closed = Signal()
rate_limited = Signal()
