"""Texts that only this project can read again: encrypted and authenticated under Django's SECRET_KEY.

Each is sealed for a purpose and bound to a text besides: for another of either it cannot be opened.
SECRET_KEY_FALLBACKS open what was sealed under earlier keys.
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

_NONCE_BYTES: Final = 12


def seal(text: str, purpose: str, bound_to: str) -> str:
    """The text, sealed, in URL-safe characters: 38 more than it has, and a third."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = _ciphers(purpose)[0].encrypt(nonce, text.encode(), bound_to.encode())
    return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")


def unseal(sealed: str, purpose: str, bound_to: str) -> str | None:
    """The text, or None for what was not sealed here, for another purpose, or bound to another text."""
    try:
        raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    for cipher in _ciphers(purpose):
        try:
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode()).decode()
        except (InvalidTag, ValueError):
            continue
    return None


def _ciphers(purpose: str) -> list[ChaCha20Poly1305]:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    prefix = f"mcp_sessions.{purpose}:".encode()
    return [ChaCha20Poly1305(hashlib.sha256(prefix + force_bytes(key)).digest()) for key in keys]
