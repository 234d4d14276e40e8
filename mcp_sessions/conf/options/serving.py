from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup

HANDSHAKE_REVISIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The revisions that begin with `initialize`, which opens a session; from oldest to newest."""
MODERN_REVISIONS: Final = ("2026-07-28",)
"""The revisions without a handshake and without sessions."""


class Serving(OptionGroup):
    """An endpoint is a URL path with a server object: an `MCPServer`, a low-level `Server` or a `FastMCP`."""

    title = "Serve a server object"

    SERVER = Option[str | None](
        None,
        None,
        "The dotted path (`package.module:object`) of the server object. It is served at `/mcp`.",
    )
    SERVERS = Option[Mapping[str, Any]](
        {},
        None,
        "The server objects of several endpoints: a dict of URL path → dotted path. In place of the "
        'dotted path you can write a dict with `"SERVER"` and the options that differ at that endpoint.',
        for_process=True,
    )
    REVISIONS = Option[Sequence[str]](
        HANDSHAKE_REVISIONS + MODERN_REVISIONS,
        kinds.some_of(*HANDSHAKE_REVISIONS, *MODERN_REVISIONS),
        "The revisions of the protocol that the endpoint serves: those of the default, or some of these "
        "([eras.md](eras.md#choose-the-revisions)).",
    )
    SSE_PATHS = Option[Sequence[str]](
        (),
        kinds.SSE_PATHS,
        "Two more paths of the endpoint, for clients that reached an older server by HTTP+SSE, the transport "
        "of revision 2024-11-05: the path of the stream, and the path for messages. For example "
        '`["/sse", "/messages"]` ([eras.md](eras.md#replace-an-older-server)).',
    )
    STRICT_ACCEPT = Option[bool](
        False,
        kinds.BOOLEAN,
        "Whether a POST must accept both `application/json` and `text/event-stream`, and is answered 406 "
        "otherwise. The specification requires both of clients, but several real clients accept only one. "
        "If this is off, a client that accepts only JSON gets JSON, and a client that accepts only SSE "
        "gets SSE.",
    )
    POST_THROUGH_DJANGO = Option[bool](
        False,
        kinds.BOOLEAN,
        "Whether the mount hands POST and DELETE requests to Django's URLs, so that the project's "
        "middleware runs. Requests then take several times as long.",
    )
