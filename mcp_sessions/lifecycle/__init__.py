"""The life of a session: open, resume, touch, rotate, extend, warn, expire, end, inspect, purge."""

from mcp_sessions.lifecycle.credentials import publish_change, watch_credential
from mcp_sessions.lifecycle.endings import (
    REASON_LENGTH,
    aend_session,
    aextend_session,
    end,
    end_session,
    end_sync,
    extend_session,
)
from mcp_sessions.lifecycle.expiry_warnings import awarn_expiring, warn_expiring
from mcp_sessions.lifecycle.expiry_watch import watch
from mcp_sessions.lifecycle.handles import (
    find_by_key,
    find_handle,
    find_kept,
    find_own,
    list_handles,
    open_handle,
    open_kept,
)
from mcp_sessions.lifecycle.inspection import (
    Inspection,
    OpenNow,
    ainspect_session,
    inspect_session,
    is_connected,
    is_running,
    open_now,
)
from mcp_sessions.lifecycle.last_used import touch
from mcp_sessions.lifecycle.live_count import keep_counting
from mcp_sessions.lifecycle.lookup import check_access, find, looks_like_id, resume
from mcp_sessions.lifecycle.manager import SessionManager
from mcp_sessions.lifecycle.migration_check import look_for_migrations
from mcp_sessions.lifecycle.openings import open_session
from mcp_sessions.lifecycle.owners import aend_sessions_of, end_sessions_of, owner_of
from mcp_sessions.lifecycle.purges import apurge, aroll_up, purge, roll_up
from mcp_sessions.lifecycle.rotations import arotate_session, rotate_session
from mcp_sessions.lifecycle.unused import end_if_unused

__all__ = [
    "REASON_LENGTH",
    "Inspection",
    "OpenNow",
    "SessionManager",
    "aend_session",
    "aend_sessions_of",
    "aextend_session",
    "ainspect_session",
    "apurge",
    "aroll_up",
    "arotate_session",
    "awarn_expiring",
    "check_access",
    "end",
    "end_if_unused",
    "end_session",
    "end_sessions_of",
    "end_sync",
    "extend_session",
    "find",
    "find_by_key",
    "find_handle",
    "find_kept",
    "find_own",
    "inspect_session",
    "is_connected",
    "is_running",
    "keep_counting",
    "list_handles",
    "look_for_migrations",
    "looks_like_id",
    "open_handle",
    "open_kept",
    "open_now",
    "open_session",
    "owner_of",
    "publish_change",
    "purge",
    "resume",
    "roll_up",
    "rotate_session",
    "touch",
    "warn_expiring",
    "watch",
    "watch_credential",
]
