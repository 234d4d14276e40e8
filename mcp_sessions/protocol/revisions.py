"""Which revision a request speaks, and what that decides.

Source: the specification, "Protocol Version Header" and "Backwards Compatibility".
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from mcp_types import (
    CLIENT_INFO_META_KEY,
    DEFAULT_NEGOTIATED_VERSION,
    PROTOCOL_VERSION_META_KEY,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from mcp_sessions.conf import AppSettings, handshake_revisions, modern_revisions
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Exchange
from mcp_sessions.jsonrpc import METHOD_NOT_FOUND, Request
from mcp_sessions.records import SessionRecord

BATCHES: Final = "2025-03-26"
"""The one revision with batches."""
GUIDE: Final = "2025-06-18"
"""What the guide's clients speak, until one says otherwise."""
HEADER_MISMATCH: Final = -32020
HEADER: Final = "mcp-protocol-version"
_ONLY_POST: Final = (("Allow", "POST"),)


def is_modern(exchange: Exchange, value: Any) -> bool:
    """Whether the SDK's single-exchange entry answers this: a revision without handshakes, or unknown.

    An unknown version goes there too: its refusal (-32022 with what is supported) is what makes
    a modern client fall back. Raises RequestError for an envelope of another revision than the header's.
    """
    version, in_envelope = _named(exchange), _in_envelope(value)
    if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
        return True
    # A client that comes back with a handshake revision may name it in both places.
    is_handshake = in_envelope in HANDSHAKE_PROTOCOL_VERSIONS and version in {None, in_envelope}
    if in_envelope is not None and not is_handshake:
        raise RequestError(
            400,
            "The request's _meta names a protocol version that its MCP-Protocol-Version header does not.",
            code=HEADER_MISMATCH,
        )
    return False


def refuse_modern(exchange: Exchange, value: Any) -> RequestError:
    """-32022 with what has sessions: a client that gets it falls back to the handshake."""
    requested = _in_envelope(value) or exchange.headers.get(HEADER, "")
    served = handshake_revisions(exchange.endpoint)
    return _not_served(requested, served, "Open a session with initialize.")


def check_handshake(exchange: Exchange, requested: Any = None) -> tuple[str, ...]:
    """The revisions with a handshake that are served.

    Raises RequestError if there are none: 400 for POST, 405 for GET, by which a client of 2024-11-05 knows
    that it need not look further.
    """
    if served := handshake_revisions(exchange.endpoint):
        return served
    modern = modern_revisions(exchange.endpoint)
    requested = requested or exchange.headers.get(HEADER, DEFAULT_NEGOTIATED_VERSION)
    error = _not_served(requested, modern, "There are no sessions: name a revision in each request.")
    if exchange.method != "POST":
        error.status, error.headers = 405, _ONLY_POST
    raise error


def negotiated(exchange: Exchange, request: Request) -> Request:
    """`initialize`, which asks for a served revision: the newest where the client asks for another."""
    params = request.params or {}
    requested = params.get("protocolVersion")
    served = check_handshake(exchange, requested)
    if not isinstance(requested, str) or requested in served:
        return request
    return replace(request, params={**params, "protocolVersion": served[-1]})


def check_session(exchange: Exchange, session: SessionRecord) -> None:
    """Raise RequestError for a header with a revision that neither the endpoint nor the session has.

    A session keeps the revision that it was opened with, also if the endpoint opens no more of these.
    """
    named = exchange.headers.get(HEADER)
    if named is None or named == session.protocol_version:
        return
    if named not in (served := handshake_revisions(exchange.endpoint)):
        raise _not_served(named, served, f"This session has {session.protocol_version}.")


def _not_served(requested: Any, supported: tuple[str, ...], advice: str) -> RequestError:
    requested = str(requested)[:40]
    return RequestError(
        400,
        f"Revision {requested!r} is not served here. {advice}",
        code=UNSUPPORTED_PROTOCOL_VERSION,
        data={"supported": list(supported), "requested": requested},
    )


def is_probe(value: Any) -> bool:
    """Whether a client asks which revisions are served, before anything else."""
    return isinstance(value, dict) and value.get("method") == "server/discover"


def refuse_probe() -> RequestError:
    """What every client takes for a server with handshakes: -32601, by HTTP 400."""
    message = "server/discover is not served here. Open a session with initialize."
    return RequestError(400, message, code=METHOD_NOT_FOUND)


def check_header(exchange: Exchange) -> None:
    """Raise RequestError for a GET or DELETE of a revision that has none."""
    version = _named(exchange)
    if version in MODERN_PROTOCOL_VERSIONS:
        raise RequestError(405, f"{version} has only POST.", headers=_ONLY_POST)
    if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
        raise RequestError(400, f"MCP-Protocol-Version {version[:40]!r} is not supported.")


def guide_version(exchange: Exchange) -> str:
    """What a session speaks that a GET opens. Raises RequestError if no revision has sessions here."""
    served = check_handshake(exchange)
    for version in (_named(exchange), GUIDE):
        if version in served:
            return version
    return served[-1]


def _named(exchange: Exchange) -> str | None:
    """What the header says. Raises RequestError for copies of it that differ."""
    version = exchange.headers.get(HEADER)
    if version is not None and "," in version:
        raise RequestError(
            400, "MCP-Protocol-Version is sent twice, with different values.", code=HEADER_MISMATCH
        )
    return version


def introduction(exchange: Exchange, value: Any) -> dict[str, Any]:
    """What the metadata of a session has of a request of 2026-07-28 that opens it: its revision and client.

    A client that says more of itself than MAX_CLIENT_BYTES, or what no store keeps, is not named: its request
    is served all the same.
    """
    said, revision = _envelope(value), _in_envelope(value)
    found = {"protocol_version": revision} if revision in MODERN_PROTOCOL_VERSIONS else {}
    client = said.get(CLIENT_INFO_META_KEY)
    fits = isinstance(client, dict) and _fits(client, AppSettings(exchange.endpoint).MAX_CLIENT_BYTES)
    return {**found, "client": client} if fits else found


def _fits(client: dict[str, Any], limit: int) -> bool:
    """Whether a store keeps it: no NUL, no half of a surrogate pair, not too long."""
    text = json.dumps(client, ensure_ascii=False)
    try:
        return len(text.encode()) <= limit and "\\u0000" not in text
    except UnicodeEncodeError:
        return False


def _in_envelope(value: Any) -> Any:
    """The protocol version in the request's `_meta`; None if there is none."""
    return _envelope(value).get(PROTOCOL_VERSION_META_KEY)


def _envelope(value: Any) -> dict[str, Any]:
    """The request's `_meta`; empty if there is none."""
    params = value.get("params") if isinstance(value, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}
