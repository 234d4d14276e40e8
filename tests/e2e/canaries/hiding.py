"""What a text may be hidden as."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from urllib.parse import quote


def forms(text: str) -> Iterator[bytes]:
    """The text raw, in hexadecimal, URL-encoded, and in base64 wherever it stands in what was encoded."""
    raw = text.encode()
    yield raw
    yield quote(text, safe="").encode()
    yield "".join(f"%{byte:02X}" for byte in raw).encode()
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    for before in range(3):
        # Characters that depend on what stands before and behind are left out.
        first, last = -(-8 * before // 6), 8 * (before + len(raw)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + raw)[first:last]


def found(canaries: Iterable[str], place: bytes) -> list[str]:
    """Those of the canaries that are there in any form."""
    return [canary for canary in canaries if any(form in place for form in forms(canary))]
