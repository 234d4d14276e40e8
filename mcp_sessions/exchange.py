"""One HTTP request and its answer, as every module below the entry points knows them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from mcp_sessions.principals import ANONYMOUS, Principal

Headers = tuple[tuple[str, str], ...]
Target = tuple[str, str]
"""What a request is about: "tools", "resources" or "prompts", and a name or a URI."""

REMEMBERED: Final = 500
"""Characters of an Accept header of which it is remembered what it admits."""
SSE_HEADERS: Headers = (
    ("Content-Type", "text/event-stream"),
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),
)

SINGULAR: Final = frozenset(
    {
        *("mcp-session-id", "x-session-id", "mcp-protocol-version", "mcp-method", "last-event-id"),
        *("content-type", "origin"),
    }
)
"""Headers with one value. Some clients and proxies repeat them: copies that agree are one."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request to an endpoint.

    `endpoint` is the configured path that was hit, `path` the path as the client sees it (with
    the script name); `headers` are as header_map makes them; `principal` is who sent it, once that is
    known, and `authenticator` what found that out; `can_stream` is whether the entry point can answer by SSE;
    `hidden` is what its sender must not find, None where nothing requires anything of anybody;
    `sse_path` is which of the endpoint's SSE_PATHS was hit, "" for the endpoint's own path.
    """

    method: str
    endpoint: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    """Error pages and error trackers show reprs: neither these nor the query or the body are in it."""
    query_string: str = field(default="", repr=False)
    address: str = ""
    scheme: str = "http"
    body: bytes = field(default=b"", repr=False)
    principal: Principal = ANONYMOUS
    authenticator: Any = None
    can_stream: bool = True
    hidden: frozenset[Target] | None = None
    sse_path: str = ""

    @property
    def owner(self) -> str:
        """The owner of the sessions that this request may use."""
        return self.principal.owner

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


def header_map(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers as an Exchange has them: names in lower case, the values of a repeated one joined by ", "
    (of cookies by "; ").

    The whitespace around a value is not part of it (RFC 9110, 5.5), and some servers leave it there.
    """
    headers: dict[str, str] = {}
    for any_case, padded in pairs:
        name, value = any_case.lower(), padded.strip(" \t")
        separator = "; " if name == "cookie" else ", "  # RFC 9113, 8.2.3
        headers[name] = f"{headers[name]}{separator}{value}" if name in headers else value
    for name in SINGULAR:
        if "," in headers.get(name, ""):
            headers[name] = _agreed(headers[name])
    return headers


def _agreed(value: str) -> str:
    copies = {copy.strip(" \t") for copy in value.split(",")}
    return copies.pop() if len(copies) == 1 else value


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
