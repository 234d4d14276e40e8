"""What a tool keeps in its session: get_session(ctx), .data, edit() and send_event()."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from django.utils import timezone

from mcp_sessions import jsonrpc
from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import InvalidSessionData, LeaseLost, MCPSessionsError, NestedEdit, SessionBusy
from mcp_sessions.identifiers import new_lease
from mcp_sessions.messages import asend_session_message
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.stores import get_store

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 0.2

current_session: ContextVar[SessionState | None] = ContextVar("mcp_session", default=None)
_edited: ContextVar[frozenset[str]] = ContextVar("mcp_sessions_edited", default=frozenset())


class SessionState:
    """The session a tool runs in."""

    def __init__(self, session: SessionRecord) -> None:
        self.record = session
        self._data: Mapping[str, Any] = session.data

    @property
    def key(self) -> str:
        """The session's public name: it opens nothing, and send_session_message() takes it."""
        return self.record.key

    @property
    def data(self) -> Mapping[str, Any]:
        """The session's data as it was when the request began, or after this tool's last edit; read-only."""
        return MappingProxyType(dict(self._data))

    @asynccontextmanager
    async def edit(self) -> AsyncIterator[dict[str, Any]]:
        """Change the data: `async with session.edit() as data: data["n"] = data.get("n", 0) + 1`.

        Nobody else edits it meanwhile, in any process; readers are not held up. The data is
        JSON: what the block leaves in the dict is stored when it ends without an exception.

        Raises SessionBusy after EDIT_TIMEOUT seconds of waiting, NestedEdit inside another edit
        of the same session, LeaseLost when the block took longer than EDIT_TIMEOUT and somebody
        else has begun to edit, SessionEnded, InvalidSessionData; then nothing is stored.
        """
        if self.key in _edited.get():
            raise NestedEdit(f"edit() of session {self.key} inside edit() of the same session.")
        async with current().service(EditLocks).waiting(self.key):
            token = new_lease()
            data = await self._lease(token)
            mark = _edited.set(_edited.get() | {self.key})
            try:
                yield data
                _check_size(data)
            except BaseException:
                # What went wrong inside is what the caller is to see, also if the session has ended.
                with suppress(MCPSessionsError):
                    await asyncio.shield(get_store().arelease(self.key, token, None))
                raise
            finally:
                _edited.reset(mark)
            if not await get_store().arelease(self.key, token, data):
                raise LeaseLost(f"The edit of session {self.key} took too long; nothing was written.")
            self._data = data

    async def send_event(self, event: str, data: Any) -> bool:
        """Send a named event to the session's open streams; see send_session_message()."""
        return await asend_session_message(self.key, event=event, data=data)

    async def _lease(self, token: str) -> dict[str, Any]:
        timeout = app_settings.EDIT_TIMEOUT
        gives_up_at = asyncio.get_running_loop().time() + timeout
        pause = FIRST_PAUSE
        while True:
            now = timezone.now()
            found = await self._try_lease(token, now, now + timedelta(seconds=timeout))
            if found is not None:
                return copy.deepcopy(dict(found))
            if asyncio.get_running_loop().time() + pause > gives_up_at:
                raise SessionBusy(f"Session {self.key} is being edited for more than {timeout} s.")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _try_lease(self, token: str, now: datetime, until: datetime) -> Mapping[str, Any] | None:
        """Take the lease if it is free. Who is cancelled meanwhile has it given back once it is taken."""
        taking = asyncio.ensure_future(get_store().alease(self.key, token, now, until))
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            current().spawn(self._give_back(taking, token), "lease")
            raise

    async def _give_back(self, taking: asyncio.Future[Mapping[str, Any] | None], token: str) -> None:
        with suppress(MCPSessionsError):
            if await taking is not None:
                await get_store().arelease(self.key, token, None)


class EditLocks:
    """First come, first served among the edits of one process; the lease decides between processes."""

    def __init__(self, runtime: Runtime) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}

    @asynccontextmanager
    async def waiting(self, key: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            await self._acquire(lock, key)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._locks[key]

    async def _acquire(self, lock: asyncio.Lock, key: str) -> None:
        try:
            await asyncio.wait_for(lock.acquire(), app_settings.EDIT_TIMEOUT)
        except TimeoutError:
            raise SessionBusy(f"Session {key} has been edited for longer than EDIT_TIMEOUT.") from None


def _check_size(data: dict[str, Any]) -> None:
    limit = app_settings.MAX_DATA_BYTES
    try:
        size = len(jsonrpc.encode(data))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSessionData(f"A session's data must be JSON: {error}") from error
    if size > limit:
        raise InvalidSessionData(f"A session's data may have {limit} bytes as JSON, and this has {size}.")


def get_session(ctx: object = None) -> SessionState:
    """The session of the call that is running; `ctx` is the tool's context, of any server library.

    Raises MCPSessionsError outside of a call, and in a request of 2026-07-28, which has no session.
    """
    state = current_session.get()
    if state is None:
        raise MCPSessionsError(
            "There is no session here: get_session() works inside tools, resources and prompts that a "
            "client with a session calls. Clients of revision 2026-07-28 have none."
        )
    return state
