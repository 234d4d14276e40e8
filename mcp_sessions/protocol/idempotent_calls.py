"""Tools whose calls happen once, by @once or ONCE: a call that is sent again gets the outcome of the first.

A client that has lost its stream sends its call again, in 2026-07-28 as a new request. So the first call runs
as a task of the process, which goes on when its sender has left, and the others wait for its outcome.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import URL_ELICITATION_REQUIRED
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_sessions import jsonrpc
from mcp_sessions.conf import AppSettings
from mcp_sessions.context_values import set_within
from mcp_sessions.delivery import claim_or_wait, get_hub, settle, unclaim
from mcp_sessions.exceptions import (
    ConfigurationError,
    InvalidSessionData,
    SessionEnded,
    SessionNotFound,
    StoreUnavailable,
)
from mcp_sessions.identifiers import new_request_id, new_token
from mcp_sessions.isolation import isolated
from mcp_sessions.lifecycle import watch
from mcp_sessions.protocol.admission import admitted_handle
from mcp_sessions.protocol.begun import Beginning, current_beginning
from mcp_sessions.protocol.handlers import Handler, Request, wrap_handler
from mcp_sessions.protocol.handles import OPEN, UNKNOWN, get_caller
from mcp_sessions.protocol.outages import before_work
from mcp_sessions.protocol.outbound import UntilLeft, sent_through
from mcp_sessions.protocol.outcomes import as_text, field_of, has_failed, result_of, tool_error
from mcp_sessions.protocol.threads import own_thread
from mcp_sessions.records import REQUEST_CANCELLED, WORKER_LOST, Claim, SessionRecord
from mcp_sessions.runtime import current
from mcp_sessions.state import (
    Once,
    current_session,
    declarations,
    get_principal,
    name_of,
    once_of,
    session_parameters,
)

logger = logging.getLogger("mcp_sessions.protocol")

Find = Callable[[str], Awaitable[Any]]
"""The tool of a name; None for a server whose tools are not known."""

NO_SESSION: Final = (
    "Nothing was done. This tool needs a session, by which it knows a call that is sent again: authenticate, "
    f"or pass the handle of a session if the tool takes one (see {OPEN})."
)
FULL: Final = "Nothing was done: this session has had {} such calls, and can have no more for some time."
TOO_LONG: Final = (
    "This call has happened. Its outcome was too long to be kept, so only its first sender got it."
)
NOT_KEPT: Final = "This call has happened. Its outcome is not known, because it could not be kept."


def add(low: Server[Any], endpoint: str, find: Find) -> None:
    """Have declared tools of a prepared copy of a server happen once."""
    wrap_handler(low, "tools/call", IdempotentTools(endpoint, find).call_tool)


class IdempotentTools:
    """The declarations of a server's tools, by which some calls happen once."""

    def __init__(self, endpoint: str, find: Find) -> None:
        self._endpoint = endpoint
        self._find = find
        self._known: object = None
        self._undeclared: set[str] = set()

    def call_tool(self, call: Handler, ctx: Request, params: Any) -> Awaitable[Any]:
        """A tool that is not declared costs this look and no more, from its second call on."""
        if (said := declarations(self._endpoint)) != self._known:
            self._known, self._undeclared = said, set()
        is_plain = said is None or params.name in self._undeclared
        return call(ctx, params) if is_plain else self._serve(call, ctx, params)

    async def _serve(self, call: Handler, ctx: Request, params: Any) -> Any:
        tool = await self._find(params.name)
        declared = once_of(tool, params.name, self._endpoint)
        if declared is None:
            if tool is not None:
                # Names that lead nowhere are the clients', and there is no end of them.
                self._undeclared.add(params.name)
            return await call(ctx, params)
        schema = getattr(tool, "parameters", {})
        _check(declared, params.name, schema)
        handles, arguments = session_parameters(schema), params.arguments or {}
        key = declared.key_of({name: value for name, value in arguments.items() if name not in handles})
        if key is None:
            return await call(ctx, params)
        try:
            with before_work(params.name):
                sessions = await _sessions([arguments.get(name) for name in handles])
        except SessionNotFound:
            return tool_error(UNKNOWN)
        if not sessions:
            return tool_error(NO_SESSION)
        claimed = await self._claim(params.name, declared, sessions, key)
        if not isinstance(claimed, Claim):
            return claimed
        return await IdempotentCall(claimed, sessions[0]).happen(ctx, lambda request: call(request, params))

    async def _claim(self, tool: str, declared: Once, sessions: Sequence[SessionRecord], key: Any) -> Any:
        """The claim by which this process is to run a call; else what is answered in its place."""
        options = AppSettings(self._endpoint)
        within = declared.within or options.ONCE_SECONDS
        keys = [session.key for session in sessions]
        name = name_of(get_principal().owner, keys, tool, key)
        if_lost = None if declared.rerun_if_lost else as_text(None, _worker_lost())
        try:
            with before_work(tool):
                worker = await get_hub().get_worker_name()
                claim = Claim(keys[0], name, worker, new_token(), within, if_lost)
                found = await claim_or_wait(claim, options.MAX_ONCE_CALLS)
        except StoreUnavailable as error:
            text = "Nothing was done: the session store cannot be reached. Try again later."
            raise MCPError(jsonrpc.INTERNAL_ERROR, text, {"reason": "store_unavailable"}) from error
        if found is None:
            return tool_error(FULL.format(options.MAX_ONCE_CALLS))
        if found.outcome is not None:
            return result_of(json.loads(found.outcome))
        return claim


def _check(declared: Once, name: str, schema: Mapping[str, Any]) -> None:
    known = schema.get("properties")
    unknown = [key for key in declared.key if known is not None and key not in known]
    if unknown:
        raise ConfigurationError(f"once: the tool {name!r} has no argument {unknown[0]!r} in its schema.")


async def _sessions(handles: Sequence[object]) -> list[SessionRecord]:
    """The sessions in which a call happens: those of its handles, else its caller's own, if there is one.

    Raises SessionNotFound for a handle that the caller may not use.
    """
    caller, own = get_caller(), current_session.get()
    named = [handle for handle in handles if isinstance(handle, str) and handle]
    if caller is None or not named:
        return [] if own is None else [own.record]
    return [await admitted_handle(caller.exchange, handle) for handle in named]


class IdempotentCall:
    """A call that happens once, while this process runs it."""

    counts = False

    def __init__(self, claim: Claim, session: SessionRecord) -> None:
        self._claim = claim
        self._session = session
        self._id = new_request_id()
        self._beginning = Beginning()
        self._task: asyncio.Task[tuple[Any, Exception | None]] | None = None
        self._cancelled: MCPError | None = None
        self._is_running = False
        self._is_over = False

    async def happen(self, ctx: Request, call: Callable[[Request], Awaitable[Any]]) -> Any:
        """The result for the first sender; it is stored by then. Raises what the call raises.

        Who closes the stream in 2026-07-28 may have lost it: the call goes on, and its sender comes again.
        In earlier revisions that is no cancellation, and what is one stops the call.
        """
        is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if is_modern:
            ctx = sent_through(ctx, lambda channel: UntilLeft(channel, left))
        self._start(partial(call, ctx))
        assert self._task is not None
        try:
            result, error = await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if is_modern:
                left.set_result(None)
            else:
                self.cancel("Request cancelled", "cancelled")
            raise
        if error is not None:
            raise error
        return result

    def _start(self, call: Callable[[], Awaitable[Any]]) -> None:
        calls = get_hub().calls
        self._task = current().spawn(self._run(call), "once", copy_context())
        calls.register(self._session, self._id, self)
        self._task.add_done_callback(lambda _: calls.unregister(self._session, self._id, self))
        watch(self._session)

    async def _run(self, call: Callable[[], Awaitable[Any]]) -> tuple[Any, Exception | None]:
        self._is_running = True
        if self._cancelled is not None:
            self._is_over = True
            await unclaim(self._claim)
            return None, self._cancelled
        result, error = await self._outcome(call)
        if self._task is not None and self._task.cancelling():
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # a cancellation that waits for the next await comes here
        if self._is_over:
            return None, self._cancelled
        self._is_over = True
        may_run_again = self._claim.if_lost is None and error is not None and error is self._cancelled
        # A library may run functions where it is not seen that they begin: what succeeded has begun.
        has_not_begun = not self._beginning.has_begun and (error is not None or has_failed(result))
        if may_run_again or has_not_begun or _is_to_be_repeated(result, error):
            await unclaim(self._claim)
        elif not await self._settle(result, error):
            return None, self._cancelled or _worker_lost()
        return result, error

    async def _outcome(self, call: Callable[[], Awaitable[Any]]) -> tuple[Any, Exception | None]:
        try:
            with set_within(current_beginning, self._beginning):
                async with own_thread():
                    return await isolated(call()), None
        except asyncio.CancelledError:
            if self._cancelled is None:
                raise
            return None, self._cancelled
        except Exception as error:
            return None, error

    async def _settle(self, result: Any, error: Exception | None) -> bool:
        """Store the outcome, or only that there was one. False if callers get another one."""
        try:
            return await self._store(result, error)
        except SessionEnded:
            return True  # nobody can send it again
        except Exception:
            logger.exception("session %s: a call that happens once cannot be stored", self._session.key)
            return True

    async def _store(self, result: Any, error: Exception | None) -> bool:
        try:
            text = as_text(result, error)
            if len(text) <= AppSettings(self._session.server).MAX_ONCE_BYTES:
                return await settle(self._claim, text)
        except SessionEnded:
            raise
        except InvalidSessionData:
            pass  # longer than the store takes
        except Exception:
            logger.exception("session %s: the outcome of a call cannot be kept", self._session.key)
            return await settle(self._claim, as_text(tool_error(NOT_KEPT), None))
        return await settle(self._claim, as_text(tool_error(TOO_LONG), None))

    # -- what stops it -----------------------------------------------------------------------------

    def cancel(self, message: str, reason: str) -> None:
        """Stop the call. Nobody knows how far it came, and all its senders get that as the outcome."""
        if self._is_over or self._cancelled is not None or self._task is None:
            return
        is_cancelled = reason == "cancelled"
        code = REQUEST_CANCELLED if is_cancelled else jsonrpc.INTERNAL_ERROR
        text = f"{message}: its outcome is unknown" if is_cancelled else message
        self._cancelled = MCPError(code, text, {"reason": reason})
        if self._is_running:
            # A task that is cancelled before its first step does nothing at all.
            self._task.cancel()

    def give_up(self) -> None:
        """Settle a cancelled call that does not stop."""
        if self._cancelled is not None and not self._is_over:
            self._is_over = True
            current().spawn(self._settle(None, self._cancelled), "give up")


def _is_to_be_repeated(result: Any, error: Exception | None) -> bool:
    """Whether a call has no outcome yet: the client is to send it again, with what it is asked for."""
    if isinstance(error, MCPError):
        return error.error.code == URL_ELICITATION_REQUIRED
    return bool(field_of(result, "resultType", "result_type") == "input_required")


def _worker_lost() -> MCPError:
    return MCPError(jsonrpc.INTERNAL_ERROR, WORKER_LOST, {"reason": "worker_lost"})
