"""The keys that seal `requestState`, shared by all workers.

A server object that names no keys gets a random one in each process: what one worker has asked for, no
other could take up. So the prepared copy seals with keys derived from SECRET_KEY.
"""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from django.conf import settings
from django.utils.encoding import force_bytes
from mcp.server.request_state import (
    AESGCMRequestStateCodec,
    InvalidRequestState,
    RequestStateBoundary,
    RequestStateCodec,
)


def shared(middleware: Any) -> Any:
    """The middleware; a copy that shares keys, of one that may have this process's own."""
    if not isinstance(middleware, RequestStateBoundary) or not _may_be_ephemeral(middleware):
        return middleware
    security = copy.copy(middleware._security)
    security.codec = SharedCodec(security.codec)
    changed = copy.copy(middleware)
    changed._security = security
    return changed


class SharedCodec:
    """Seals with the first of Django's secret keys. Opens what was sealed with any of them, or with `own`."""

    def __init__(self, own: RequestStateCodec) -> None:
        self._own = own

    def seal(self, payload: bytes) -> str:
        return _codec().seal(payload)

    def unseal(self, token: str) -> bytes:
        try:
            return _codec().unseal(token)
        except InvalidRequestState:
            return self._own.unseal(token)


def _codec() -> AESGCMRequestStateCodec:
    """Made anew each time: settings may change in tests, and a call that asks for input is rare."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    derived = [hashlib.sha256(b"mcp_sessions.requeststate:" + force_bytes(key)).digest() for key in secrets]
    return AESGCMRequestStateCodec(list(dict.fromkeys(derived)))


def _may_be_ephemeral(middleware: RequestStateBoundary) -> bool:
    """Whether the policy could be the SDK's default one. Several keys, or another codec, are the author's."""
    codec = middleware._security.codec
    return isinstance(codec, AESGCMRequestStateCodec) and len(codec._ring) == 1
