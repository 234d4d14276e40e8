"""Session ids, which are credentials, and the names that are not."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
from typing import Final

ALPHABET: Final = string.ascii_uppercase + string.digits
ENTROPY_BITS: Final = 165
"""What 32 characters of 36 carry; the guide's chapter "Session ID Generation" asks for 128 and more."""
MIN_LENGTH: Final = 22
"""Characters of an id, whoever makes it: so many of the 64 that are URL-safe carry 128 bits."""
MAX_LENGTH: Final = 128

_ID = re.compile(rf"[A-Za-z0-9_\-]{{{MIN_LENGTH},{MAX_LENGTH}}}\Z")
_REQUEST_ID = re.compile(r"ask-[0-9a-f]{16}\Z")
_KEY = re.compile(r"[A-Za-z0-9_\-]{1,32}\Z")
_MADE_KEY = re.compile(r"[0-9a-f]{24}\Z")


def length_for(entropy_bits: float) -> int:
    """How many characters of ours carry so many bits."""
    return math.ceil(entropy_bits / math.log2(len(ALPHABET)))


def new_session_id(entropy_bits: float = ENTROPY_BITS) -> str:
    """A new session id: uniform over A-Z and 0-9, from the operating system's generator."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length_for(entropy_bits)))


def is_session_id(text: str) -> bool:
    """Whether this can be a session id at all, so that nothing else ever reaches the store."""
    return _ID.match(text) is not None


def is_key(text: str) -> bool:
    """Whether this can be a session's public name."""
    return _KEY.match(text) is not None


def is_made_key(text: str) -> bool:
    """Whether this has the form of our keys, which is another than that of ids."""
    return _MADE_KEY.match(text) is not None


def digest_of(session_id: str) -> str:
    """What the store keeps of an id: SHA-256, 64 hexadecimal characters."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def new_key() -> str:
    """A session's public name: 24 hexadecimal characters that open nothing."""
    return secrets.token_hex(12)


def new_stream_name() -> str:
    """A stream's name: 16 hexadecimal characters, unique over all sessions."""
    return secrets.token_hex(8)


def new_request_id() -> str:
    """The JSON-RPC id of a request to the client; never a number, so that no client's id meets it."""
    return f"ask-{secrets.token_hex(8)}"


def is_request_id(request_id: object) -> bool:
    """Whether this can be the id of a request of ours."""
    return isinstance(request_id, str) and _REQUEST_ID.match(request_id) is not None


def new_worker_name() -> str:
    return secrets.token_hex(8)


def new_lease() -> str:
    return secrets.token_hex(8)


def new_token() -> str:
    """Names a transaction."""
    return secrets.token_hex(12)
