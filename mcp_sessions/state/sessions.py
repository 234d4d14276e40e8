"""A session's state: get_session(ctx) in tools, load_session(key) elsewhere; its .data, edit() and more."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn

from mcp_sessions.exceptions import NoSession
from mcp_sessions.lifecycle import find
from mcp_sessions.messages import asend_session_message
from mcp_sessions.principals import Principal, user_id_of
from mcp_sessions.records import SessionRecord
from mcp_sessions.runtime import run, run_sync
from mcp_sessions.state.editing import Edit
from mcp_sessions.state.parameters import SessionParameter

current_session: ContextVar[SessionState | None] = ContextVar("mcp_session", default=None)


class SessionState(SessionParameter):
    """A session, and what it keeps.

    A tool gets its caller's by a parameter of this type, `session: Session`.
    """

    def __init__(self, session: SessionRecord, principal: Principal | None = None) -> None:
        self.record = session
        self._principal = principal
        self._data = session.data

    @property
    def key(self) -> str:
        """The session's public name: it opens nothing, and send_session_message() takes it."""
        return self.record.key

    @property
    def user_id(self) -> str | None:
        """Whose session it is: the primary key of the Django user as text, else the subject of the token.

        None for a session that was opened anonymously.
        """
        # A session that was rotated may have another owner than the one who opened it.
        return user_id_of(self.record.owner) or self._authentication.get("user_id")

    @property
    def scopes(self) -> frozenset[str] | None:
        """The scopes of the request at hand, whatever the session was opened with.

        Where there is none (in a Celery task, for instance), those that it was opened with. None: the
        credential has no scopes, as a login to Django has none, or there was no credential.
        """
        if self._principal is not None:
            return self._principal.scopes
        opened_with = self._authentication.get("scopes")
        return None if opened_with is None else frozenset(opened_with)

    @property
    def authenticated_at(self) -> datetime | None:
        """When the credential was accepted that opened the session; None if it was opened anonymously."""
        at = self._authentication.get("authenticated_at")
        return None if at is None else datetime.fromisoformat(at)

    @property
    def _authentication(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.record.metadata.get("authentication", {})
        return found

    @property
    def data(self) -> Mapping[str, Any]:
        """What the session kept when this was loaded (in a tool: when the request began).

        After an edit() of this object, what that left. A dict that cannot be changed; what is done
        to a list or dict inside it is not stored.
        """
        return ReadOnlyData(self._data)

    def edit(self) -> Edit:
        """Change the data: `async with session.edit() as data: data["n"] = data.get("n", 0) + 1`.

        In synchronous code `with session.edit() as data`. Nobody else edits it meanwhile, in any
        process; readers are not held up. `data` is a dict of JSON values: what the block leaves
        in it is stored when it ends without an exception. That is no part of the caller's
        transaction: the store has connections of its own.

        Raises SessionBusy after EDIT_TIMEOUT seconds of waiting, NestedEdit inside another edit
        of the same session, LeaseLost when the block took longer than EDIT_TIMEOUT,
        SessionEnded, InvalidSessionData; then nothing is stored.
        """
        return Edit(self.key, self._has_written)

    async def send_event(self, event: str, data: Any) -> bool:
        """Send a named event to the session's open streams; see send_session_message()."""
        return await asend_session_message(self.key, event=event, data=data)

    def _has_written(self, data: dict[str, Any]) -> None:
        self._data = data


class ReadOnlyData(dict[str, Any]):
    """A dict, for json.dumps() and whoever looks at types; copies of it can be changed."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("session.data is only to be read. Change it inside edit().")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[dict[str, Any]], tuple[dict[str, Any]]]:
        return dict, (dict(self),)


def get_session(ctx: object = None) -> SessionState:
    """The session of the call that is running; `ctx` is the tool's context, of any server library.

    In a request of 2026-07-28, which has no session of the protocol, it is the one that the authenticated
    principal has at this endpoint.

    Raises NoSession outside of a call, and in an anonymous request of 2026-07-28.
    """
    state = current_session.get()
    if state is None:
        raise NoSession(
            "There is no session here. get_session() works inside tools, resources and prompts. An anonymous "
            "client of revision 2026-07-28 has no session: give the tool a parameter `session: Session`, "
            "which such a client fills with a handle, or do not serve that revision at this endpoint."
        )
    return state


Session = SessionState


async def aload_session(key_or_id: str) -> SessionState:
    """The live session of this key (or id), for code of the project. Raises SessionNotFound."""
    return SessionState(await run(find(key_or_id)))


def load_session(key_or_id: str) -> SessionState:
    """aload_session() for synchronous code: `with load_session(key).edit() as data: ...`."""
    return SessionState(run_sync(find(key_or_id)))
