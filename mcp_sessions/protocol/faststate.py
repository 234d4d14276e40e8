"""FastMCP's state, kept in sessions: `ctx.set_state()`, `UserSession` and `SessionProvider`.

FastMCP keeps state in a key-value store, by default in the memory of one process. Where its author chose no
store, this one takes its place. What belongs to a session of the protocol is in that session's data.
What FastMCP's own sessions keep has a row of its own, with the same expiry and limits.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from key_value.aio._utils.managed_entry import ManagedEntry
from key_value.aio.stores.base import BaseStore
from key_value.aio.stores.memory import MemoryStore

from mcp_sessions.exceptions import SessionNotFound
from mcp_sessions.identifiers import is_made_key
from mcp_sessions.lifecycle import find, find_kept, open_kept
from mcp_sessions.protocol.admission import reported
from mcp_sessions.protocol.handles import get_caller
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import run
from mcp_sessions.state import SessionState, current_session
from mcp_sessions.throttling import limit_opening

NAME: Final = "fastmcp"
"""Under this name FastMCP's state is in a session's data."""
OF_PRINCIPAL: Final = "user:"
KEPT: Final = ("session:", OF_PRINCIPAL)
"""Begin the keys of what FastMCP keeps for longer than a request, without a session of the protocol."""


def keep_state(author: Any, endpoint: str) -> None:
    """Have a FastMCP server keep its state in sessions, unless its author chose a store."""
    if author._state_storage is None:
        author._state_storage = SessionStateStore(endpoint)


class SessionStateStore(BaseStore):
    """A key-value store whose entries are in sessions, shared by all workers."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(stable_api=True)
        self._endpoint = endpoint
        self._requests = MemoryStore()
        """What FastMCP keeps under a name that lives as long as one request."""

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        if _is_of_request(key):
            value, ttl = await self._requests.ttl(key, collection=collection)
            return None if value is None else ManagedEntry.from_ttl(value=value, ttl=ttl or 0)
        session = await run(self._find(key))
        if session is None:
            return None
        entry = session.data.get(NAME, {}).get(collection, {}).get(key)
        return None if entry is None else _entry_of(entry)

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        if _is_of_request(key):
            await self._requests.put(
                key, managed_entry.value_as_dict, collection=collection, ttl=managed_entry.ttl
            )
            return
        session = await run(self._find(key))
        if session is None:
            session = await run(self._open(key))
        async with SessionState(session).edit() as data:
            entries = data.setdefault(NAME, {}).setdefault(collection, {})
            entries[key] = _stored(managed_entry)

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        if _is_of_request(key):
            return bool(await self._requests.delete(key, collection=collection))
        if (session := await run(self._find(key))) is None:
            return False
        async with SessionState(session).edit() as data:
            found: object = data.get(NAME, {}).get(collection, {}).pop(key, None)
            return found is not None

    async def _find(self, key: str) -> SessionRecord | None:
        """The live session that has the key, or would have it."""
        try:
            if is_made_key(name := _session_key(key)):
                return await find(name)
            return await self._find_kept(key)
        except SessionNotFound:
            return None

    async def _find_kept(self, key: str) -> SessionRecord:
        if key.startswith(OF_PRINCIPAL):
            # The name is made of who is asking, wherever they are.
            return await find_kept(key, self._endpoint, None)
        if (caller := get_caller()) is None:
            return await _session_of_call()
        return await reported(caller.exchange, find_kept(key, self._endpoint, caller.exchange))

    async def _open(self, key: str) -> SessionRecord:
        caller = get_caller()
        if is_made_key(_session_key(key)) or caller is None:
            raise SessionNotFound
        await limit_opening(caller.exchange)
        return await open_kept(key, self._endpoint, caller.owner, caller.metadata)


async def _session_of_call() -> SessionRecord:
    """The protocol's session, as it is now. In revisions that have sessions it keeps FastMCP's own, too."""
    state = current_session.get()
    if state is None:
        raise SessionNotFound
    return await find(state.key)


def _session_key(key: str) -> str:
    """The key of the protocol's session in the key of a value, if there is one."""
    return key.partition(":")[0]


def _is_of_request(key: str) -> bool:
    return not key.startswith(KEPT) and not is_made_key(_session_key(key))


def _stored(entry: ManagedEntry) -> dict[str, Any]:
    return {
        "value": entry.value_as_dict,
        "created_at": entry.created_at_isoformat,
        "expires_at": entry.expires_at_isoformat,
    }


def _entry_of(stored: dict[str, Any]) -> ManagedEntry:
    created_at, expires_at = stored["created_at"], stored["expires_at"]
    return ManagedEntry(
        value=stored["value"],
        created_at=datetime.fromisoformat(created_at) if created_at else None,
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )
