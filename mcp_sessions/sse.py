"""Server-sent events as bytes, and the ids that let a client come back to its place.

Source: WHATWG HTML, 9.2; the specification, "Transports"; the guide's chapters "Session Resumption"
and "SSE Session Events".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mcp_sessions import sealing

KEEP_ALIVE: Final = b": keep-alive\n\n"
DEAD: Final = "session-is-gone"
"""The id of the event that says so: a browser reconnects with it by itself, and gets 204, which stops it."""

PURPOSE: Final = "sse"


def frame(data: str, *, event: str | None = None, id: str | None = None, retry: int | None = None) -> bytes:
    """One event. A browser dispatches nothing for empty data, and a client takes the id all the same."""
    lines = [] if id is None else [f"id: {id}"]
    if event is not None:
        lines.append(f"event: {event}")
    if retry is not None:
        lines.append(f"retry: {retry}")
    lines += [f"data: {line}" if line else "data:" for line in _lines(data)]
    return ("\n".join(lines) + "\n\n").encode()


def retry_frame(milliseconds: int) -> bytes:
    """How long to wait before coming back; said before a connection is closed early."""
    return f"retry: {milliseconds}\n\n".encode()


def event_id(prefix: str, position: int) -> str:
    return f"{prefix}.{position}"


def parse_event_id(text: str) -> tuple[str, int] | None:
    """(prefix, position), or None for what is not an event id of ours."""
    prefix, dot, digits = text.rpartition(".")
    if not dot or not prefix or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return prefix, int(digits)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a sealed prefix names: a session's id, and one of its streams.

    `named` is the id in the connection's own request where that is another, since before a rotation.
    """

    session_id: str = field(repr=False)
    stream: str
    named: str = field(default="", repr=False)


def seal(sealed: Sealed, *, endpoint: str, owner: str) -> str:
    """The prefix of a guide stream's event ids: it opens the session again, to its owner alone.

    A browser that reconnects by itself has nothing but the last event id to say which session
    it means, so the id is in there, encrypted and authenticated under SECRET_KEY. It counts as
    a credential. It ends with the session or with the rotation of its id.
    """
    text = f"{sealed.session_id} {sealed.stream} {sealed.named}".rstrip()
    return sealing.seal(text, PURPOSE, _bound_to(endpoint, owner))


def unseal(prefix: str, *, endpoint: str, owner: str) -> Sealed | None:
    """What a prefix names, or None for one that is not ours or somebody else's."""
    text = sealing.unseal(prefix, PURPOSE, _bound_to(endpoint, owner))
    if text is None:
        return None
    session_id, stream, named = (*text.split(" "), "", "")[:3]
    return Sealed(session_id, stream, named)


def _bound_to(endpoint: str, owner: str) -> str:
    return f"{endpoint}\n{owner}"


def _lines(data: str) -> list[str]:
    return data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
