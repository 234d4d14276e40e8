"""What clients have said in `initialize`, parsed: kept for the next call, within a bound in bytes.

It never changes, and validating it costs as much as a tool.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from mcp_types import ClientCapabilities, Implementation, InitializeRequestParams

from mcp_sessions import jsonrpc
from mcp_sessions.records import SessionRecord

KEPT_BYTES: Final = 256 * 1024
"""Of JSON text in all: enough for a thousand kinds of clients. Parsed it takes twenty times as much."""
LARGEST: Final = 8 * 1024
"""Who says more of itself is parsed at every call, and pushes nobody else out."""

Said = tuple[str, str, str]
"""Revision, clientInfo and capabilities, the latter two as JSON."""


class ParsedClients:
    """The clients that were asked for last."""

    def __init__(self) -> None:
        self._parsed: OrderedDict[Said, InitializeRequestParams] = OrderedDict()
        self.size = 0

    def get(self, session: SessionRecord) -> InitializeRequestParams | None:
        """What the session's client has said; None if it has not introduced itself."""
        metadata = session.metadata
        if "client" not in metadata:
            return None
        client, capabilities = map(jsonrpc.encode, (metadata["client"], metadata["capabilities"]))
        said = session.protocol_version, client, capabilities
        if (found := self._parsed.get(said)) is None:
            found = _parse(*said)
            self._keep(said, found)
        else:
            self._parsed.move_to_end(said)
        return found

    def _keep(self, said: Said, parsed: InitializeRequestParams) -> None:
        if _size(said) > LARGEST:
            return
        self._parsed[said] = parsed
        self.size += _size(said)
        while self.size > KEPT_BYTES:
            oldest, _ = self._parsed.popitem(last=False)
            self.size -= _size(oldest)


def _size(said: Said) -> int:
    return sum(map(len, said))


def _parse(protocol_version: str, client: str, capabilities: str) -> InitializeRequestParams:
    return InitializeRequestParams(
        protocol_version=protocol_version,
        client_info=Implementation.model_validate_json(client, by_name=False),
        capabilities=ClientCapabilities.model_validate_json(capabilities, by_name=False),
    )


parsed_clients: Final = ParsedClients()
"""Of this process. Calls run on one loop, so nobody else is in it meanwhile."""
