"""What happens to sessions, as Django signals.

Each is sent once in the cluster, by the process that made it happen. Every receiver is given `session` (a
SessionRecord) and `reason` (a short text); `sender` is the SessionRecord class. Receivers are plain or async
functions. They run after the change is stored, one after the other, and hold up no request. An exception
that a receiver raises is logged. A process that is killed between the change and the signal sends nothing.
"""

from __future__ import annotations

from django.dispatch import Signal

session_created = Signal()
"""A session was opened. The reason is "initialize", or "stream" where the guide's GET opened it."""
session_resumed = Signal()
"""A client came back to its session or to a stream. The reason is "stream"."""
session_warned = Signal()
"""The session will expire soon. The reason is "expiring"."""
session_expired = Signal()
"""The session's time ran out. The reason is "expired" or "idle"."""
session_ended = Signal()
"""The session was ended before its time ran out.

The reason is "deleted", "replaced", "operator", "rotated", "unused", "revoked" (its owner may not log in any
more), or the text that the code gave that ended it.
"""
session_limit_reached = Signal()
"""A limit was reached.

The reason is "replaced" (`session` made room for another), "principal" or "server" (`session` was refused and
never stored), or "connections" (its oldest stream was closed).
"""
session_rotated = Signal()
"""The session has another id. The reason is "requested", or "authentication" if it has another owner, too."""
connection_opened = Signal()
"""A stream was opened. Receivers are given `stream`, a StreamRecord, too."""
connection_closed = Signal()
"""A stream was closed. Receivers are given `stream`, a StreamRecord, too.

The reason is "client" (the client left), "replaced", "limit", "polling", "session", "draining", "rotated"
(the session was given to another owner), "revoked" (its credential is not valid any more), "stalled" (the
client took nothing), "trimmed" (the next events were deleted) or "lost" (the worker died).
"""
request_refused = Signal()
"""Requests were refused for security. Receivers are given `refusal`, a Refusal; `session` is None.

Sent for the first request that is refused for a reason, from an address, at an endpoint, and once a minute
for its repeats, with their count. The reason is "not_authenticated" (no credential), "invalid_request" (the
credential is malformed), "invalid_token", "insufficient_scope", "permission" (the caller may not know of
what it asked for), "csrf", "origin", "host", "owner" (the
session is somebody else's), "endpoint" (it is another endpoint's), "address" or
"user_agent" (SESSION_BINDING binds it to another), "rate_limit", or "call_limit" (MAX_CALLS_PER_SESSION).
"""
