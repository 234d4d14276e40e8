"""One HTTP request and its answer, as everything below the doors knows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import parse_qs

Headers = tuple[tuple[str, str], ...]

REMEMBERED: Final = 500
"""Characters of an Accept header of which it is remembered what it admits."""
SSE_HEADERS: Headers = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to an endpoint.

    `endpoint` is the configured path that was hit, `path` the path as the client sees it (with
    the script name); `headers` have lower-case names, of a repeated one the values are joined
    by ", "; `can_stream` is whether the door can answer by SSE.
    """

    method: str
    endpoint: str
    path: str
    headers: Mapping[str, str]
    query_string: str = ""
    address: str = ""
    scheme: str = "http"
    body: bytes = b""
    owner: str = ""
    can_stream: bool = True

    def query(self, name: str) -> list[str]:
        """The parameter's values."""
        if name not in self.query_string:
            return []
        return parse_qs(self.query_string).get(name, [])


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Headers = ()
    body: bytes = b""


class Chunks(Protocol):
    """What an event stream is sent from; closed in the end, however far it was read."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class EventStream:
    """An answer by SSE: whoever serves it sends `chunks` one by one, and closes them in the end."""

    chunks: Chunks
    headers: Headers = SSE_HEADERS
    status: int = 200


Reply = Answer | EventStream


def header_map(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """An ASGI scope's headers as an Exchange has them."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def accepts(accept: str | None, media_type: str) -> bool:
    """Whether an Accept header admits the type; no header admits everything (RFC 9110, 12.5.1)."""
    if accept is None:
        return True
    # A client may send any number of long ones: those are not remembered.
    parse = _accepts if len(accept) <= REMEMBERED else _accepts.__wrapped__
    return parse(accept, media_type)


@lru_cache(maxsize=256)
def _accepts(accept: str, media_type: str) -> bool:
    wanted = {media_type, media_type.split("/")[0] + "/*", "*/*"}
    return any(_admits(part, wanted) for part in accept.lower().split(","))


def _admits(part: str, wanted: set[str]) -> bool:
    name, _, parameters = part.partition(";")
    refused = any(_is_zero_quality(each) for each in parameters.split(";"))
    return name.strip() in wanted and not refused


def _is_zero_quality(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip() in {"0", "0.0", "0.00", "0.000"}
