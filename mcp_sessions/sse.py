"""Server-sent events as bytes, and the ids that let a client come back to its place.

Source: WHATWG HTML, 9.2; transport.md 1.3 and 1.6; the guide's chapters "Session Resumption"
and "SSE Session Events".
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from django.conf import settings
from django.utils.encoding import force_bytes

KEEP_ALIVE: Final = b": keep-alive\n\n"
DEAD: Final = "session-is-gone"
"""The id of the event that says so: a browser comes back with it by itself, and is told to stop."""

_NONCE_BYTES: Final = 12


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


def seal(session_id: str, stream: str, *, endpoint: str, owner: str) -> str:
    """The prefix of a guide stream's event ids: it opens the session again, to its owner alone.

    A browser that reconnects by itself has nothing but the last event id to say which session
    it means, so the id is in there, encrypted and authenticated under SECRET_KEY. It counts as
    a credential.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = _ciphers()[0].encrypt(nonce, f"{session_id} {stream}".encode(), _bound_to(endpoint, owner))
    return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")


def unseal(prefix: str, *, endpoint: str, owner: str) -> tuple[str, str] | None:
    """(session id, stream) of a sealed prefix, or None for one that is not ours or somebody else's."""
    try:
        raw = base64.b64decode(prefix + "=" * (-len(prefix) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    for cipher in _ciphers():
        try:
            text = cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _bound_to(endpoint, owner))
        except (InvalidTag, ValueError):
            continue
        session_id, _, stream = text.decode().partition(" ")
        return session_id, stream
    return None


def _ciphers() -> list[ChaCha20Poly1305]:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [
        ChaCha20Poly1305(hashlib.sha256(b"mcp_sessions.sse:" + force_bytes(key)).digest()) for key in keys
    ]


def _bound_to(endpoint: str, owner: str) -> bytes:
    return f"{endpoint}\n{owner}".encode()


def _lines(data: str) -> list[str]:
    return data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
