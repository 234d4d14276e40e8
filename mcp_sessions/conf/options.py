"""The options, read through a typed view at every access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from django.conf import settings

from mcp_sessions.exceptions import ConfigurationError

DEFAULT_PATH: Final = "/mcp"
JSON_SERIALIZER: Final = "mcp_sessions.stores.storable.JSONSerializer"
DATABASE_STORE: Final = "mcp_sessions.stores.database.DatabaseSessionStore"
HANDSHAKE_REVISIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
"""The protocol's revisions that begin with `initialize`, which opens a session; from oldest to newest."""
MODERN_REVISIONS: Final = ("2026-07-28",)
"""Those without handshake and sessions."""


class AppSettings:
    """The options with their defaults. Instants of reading are instants of use: nothing is cached.

    `AppSettings(path)` is what holds for the endpoint at that path: its entry in SERVERS may
    override any option but those of PROCESS_WIDE.
    """

    SERVER: str | None = None
    """Dotted path (`package.module:object`) of the server object served at /mcp."""
    SERVERS: Mapping[str, Any] = {}
    """Path → dotted path, or path → {"SERVER": dotted path, and options that differ there}."""

    SESSION_STORE: Mapping[str, Any] = {"BACKEND": DATABASE_STORE}
    """The store's dotted path, and OPTIONS for its constructor."""
    SESSION_SERIALIZER: str = JSON_SERIALIZER
    """Dotted path of what turns a session's data into text or bytes and back: dumps and loads."""
    SESSION_ROWS: bool = True
    """With a store that is not the database's: one slim row a session there, for the admin."""
    STORE_THREADS: int = 4
    """Threads, and so database connections, a process keeps for the store."""
    STORE_TIMEOUT: float = 10
    """Seconds within which the database must answer its store; then it is away."""
    STORE_LOCK_SECONDS: float = 5
    """Seconds for which the database store waits for a row that somebody else has locked."""
    TOOL_THREADS: int = 32
    """Threads a process keeps for the synchronous database work of asynchronous tools."""

    SESSION_ID_ENTROPY: float = 165
    """Bits of chance in a session id: its length is ceil(bits / log2 36)."""
    SESSION_ID_GENERATOR: str | Callable[[], str] | None = None
    """What makes session ids, or its dotted path; None: ours."""
    SESSION_VALIDATION: Literal["strict", "lenient"] = "strict"
    """Which ids are looked for: what the generator makes, or any URL-safe one of 22 to 128 characters."""

    ROTATION_GRACE_SECONDS: float = 30
    """Seconds for which the id that a session had before a rotation opens it, too."""
    SESSION_BINDING: Mapping[str, Any] = {"user": "reject"}
    """What requests must share with the one that opened the session: user, address, user_agent."""

    SESSION_TIMEOUT: float = 1800
    """Seconds without a request after which a session expires."""
    SESSION_REFRESH_THRESHOLD: float | None = None
    """A request moves the end of a session only when fewer seconds than this remain; None: always."""
    IDLE_TIMEOUT: float | None = None
    """Seconds without a request, an open stream and a running call after which a session expires."""
    MAX_SESSION_LIFETIME: float | None = None
    """Seconds after its opening when a session expires, whatever happens."""
    UNUSED_SECONDS: float | None = 60
    """A session that a GET opened, and nobody used, ends so many seconds after its stream; None: not."""
    ANONYMOUS_HANDLE_SECONDS: float | None = 24 * 3600
    """Seconds after its opening when a session of 2026-07-28 ends that belongs to nobody; None: no limit."""
    TOUCH_SECONDS: float = 10
    """Uses of a session are written at most once per so many seconds."""
    SESSION_CLEANUP_INTERVAL: float = 300
    """Seconds between two purges by Celery beat."""
    SESSION_GC_THRESHOLD: int | None = 1000
    """So many sessions that are over, and a server process purges them by itself; None: it never does."""
    KEEP_ENDED_SECONDS: float = 24 * 3600
    """Rows of sessions stay for so many seconds after these have ended; 0: until the next purge."""
    PURGE_BATCH: int = 500
    """Sessions deleted by one transaction of a purge."""

    MAX_SESSIONS_PER_CLIENT: int | None = 100
    """Live sessions of one principal; of one address while they are anonymous."""
    MAX_SESSIONS: int | None = None
    """Live sessions of one endpoint in all."""
    SESSION_REPLACEMENT_POLICY: Literal["reject", "replace_oldest"] = "replace_oldest"
    """At these two limits: the new session is refused, or the one that is missed least is ended."""
    RATE_LIMITS: Mapping[str, str | None] = {
        "session": "6000/min, burst 3000",
        "principal": "12000/min, burst 6000",
        "address": "30000/min, burst 15000",
        "opening": "600/min, burst 200",
    }
    """Messages of a session, of a principal and of an address, and openings of sessions by an address."""
    RATE_LIMITS_OUTAGE: Literal["serve", "refuse"] = "serve"
    """While the store cannot be reached: each process limits by itself, or what needs the store gets 503."""
    TRUSTED_PROXIES: int = 0
    """How many proxies in front add to X-Forwarded-For: so a client's address is found."""
    MAX_CONNECTIONS_PER_SESSION: int | None = 3
    """Open GET streams of one session; at the limit the oldest is told and closed."""
    MAX_STREAMS_PER_CLIENT: int | None = 1000
    """Open GET and listen streams of one principal, or of one anonymous address, in one process."""
    MAX_LEFT_STREAMS: int | None = 10
    """GET streams of one session that its client has left and may come back to."""
    MAX_CALLS_PER_SESSION: int | None = 100
    """Requests of one session that a process serves at once."""
    EDIT_TIMEOUT: float = 30
    """Seconds one edit() of a session's data may take, and another waits for it."""

    HEARTBEAT_SECONDS: float = 15
    """Seconds between two keep-alives on an open stream."""
    STREAM_AFTER_SECONDS: float = 1.0
    """A call that runs longer turns its reply into a stream, and becomes a row."""
    RETRY_MILLISECONDS: int = 1000
    """What clients are told to wait before they come back to a stream."""
    RETRY_FIRST: bool = False
    """Whether clients are told that in the first event of a stream too, not only before it is closed."""
    PRIMING_EVENTS: bool = True
    """Whether streams of clients of 2025-11-25 begin with an empty event that has an id."""
    CLIENT_REPLY_SECONDS: float = 600
    """Seconds a tool waits for the client's answer to elicitation, sampling or roots."""

    MAX_QUESTIONS: int | None = 50
    """Requests to one session's client that wait for its answers."""
    MAX_ANSWER_BYTES: int = 4 * 1024 * 1024
    """What a client may answer to a request of a tool."""

    CHANNEL_LAYER: str | None = "default"
    """Alias of the Channels layer that rings between processes; None: they only poll."""
    POLL_SECONDS: float = 0.2
    """How often a process looks for news from others while no shared channel layer rings."""
    WORKER_TIMEOUT: float = 15
    """Seconds after which a worker that is not heard of is taken for dead; it beats every third of them."""
    EVENT_SECONDS: float = 3600
    """Seconds for which events are kept after they were delivered, and streams after they were left."""
    MAX_EVENTS: int = 20_000
    """Delivered events kept of one open stream: what was sent need not have arrived."""
    MAX_EVENT_BYTES: int = 16 * 1024 * 1024
    """How much data these may have."""
    MAX_PENDING: int | None = 1000
    """Messages that wait for a session while it has no open stream; past it the oldest is dropped."""
    MAX_PENDING_BYTES: int | None = 16 * 1024 * 1024
    """How much data these may have; past it the oldest are dropped."""

    STALL_SECONDS: float = 60
    """Seconds for which a client may take nothing of what is sent to it; then its connection is cut."""
    BUFFER_BYTES: int = 1024 * 1024
    """What a process holds of one stream for a slow client; the rest stays in the store."""
    QUEUE_BYTES: int = 16 * 1024 * 1024
    """What waits in a process to be stored; who sends more waits."""
    SESSION_WARNING_SECONDS: float | None = 60
    """The guide's clients are warned on their open streams so many seconds before the end; None: not."""
    DRAIN_SECONDS: float = 20
    """A stopping process lets running calls finish for so many seconds."""

    SESSION_METRICS: bool | str | Mapping[str, Any] | list[Any] | tuple[Any, ...] | None = None
    """Who is told what happens to sessions: True (StatsD), a dotted path, one with OPTIONS, or several."""

    MAX_HEADER_BYTES: int = 32 * 1024
    """The headers and the query string of one request."""
    MAX_BODY_BYTES: int = 4 * 1024 * 1024
    """One POST."""
    BODY_SECONDS: float = 60
    """Seconds within which the body of a POST must arrive."""
    MAX_DEPTH: int = 100
    """Levels of objects and arrays in one body."""
    MAX_BATCH: int = 50
    """Messages in one batch of 2025-03-26."""
    MAX_CLIENT_BYTES: int = 64 * 1024
    """What a client may say about itself in `initialize`, which is kept with its session."""
    MAX_ID_LENGTH: int = 256
    """Characters of a request's id, of a progress token and of a method."""
    MAX_SUBSCRIPTIONS: int | None = 200
    """Resources one session may be subscribed to."""
    MAX_URI_LENGTH: int = 2048
    """Characters of the URI of a resource that is subscribed to."""
    MAX_DATA_BYTES: int = 1024 * 1024
    """A session's data, serialized."""

    AUTHENTICATORS: tuple[Any, ...] | list[Any] = ()
    """Authenticators by dotted path, or {"BACKEND": dotted path, "OPTIONS": {…}}; empty: anyone may call."""
    REQUIRES: Mapping[str, Any] = {}
    """Scopes and permissions that tools, resources and prompts require: kind → pattern → requirement."""
    REQUIRED_SCOPES: tuple[str, ...] | list[str] = ()
    """Scopes that a credential must have for any request."""
    AUTHORIZATION_SERVERS: tuple[str, ...] | list[str] = ()
    """Issuer URLs of the OAuth servers whose tokens the endpoint takes; clients learn of them."""
    RESOURCE_URL: str | None = None
    """The endpoint's public URL, which tokens must be issued for; None: the URL of the request."""

    ALLOWED_ORIGINS: tuple[str, ...] | list[str] = ()
    """Origins of browsers, besides the endpoint's own, that may call it; "*" for any."""
    STRICT_ACCEPT: bool = False
    """Whether a POST must accept both JSON and SSE, as the specification wants it of clients."""
    REVISIONS: tuple[str, ...] | list[str] = HANDSHAKE_REVISIONS
    """The revisions of the protocol that are served; clients of others are told of these."""
    POST_THROUGH_DJANGO: bool = False
    """Whether the mount hands POST and DELETE to Django, so that the project's middleware runs."""

    SESSION_LOGGER: str = "mcp_sessions.sessions"
    """Name of the logger that is told of what happens to sessions."""
    SESSION_DEBUG: bool = False
    """Whether each request has a line in the log, and every line of the app's is shown."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path

    def __getattribute__(self, name: str) -> Any:
        if not name.isupper():
            return object.__getattribute__(self, name)
        chosen: Mapping[str, Any] = getattr(settings, "MCP_SESSIONS", {})
        path = object.__getattribute__(self, "_path")
        if path is not None:
            entry = chosen.get("SERVERS", {}).get(path)
            if isinstance(entry, Mapping) and name in entry:
                return entry[name]
        if name in chosen:
            return chosen[name]
        return object.__getattribute__(self, name)


app_settings = AppSettings()

PROCESS_WIDE: Final = frozenset(
    {
        *("SERVERS", "SESSION_STORE", "SESSION_SERIALIZER", "SESSION_ROWS"),
        *("STORE_THREADS", "STORE_TIMEOUT", "STORE_LOCK_SECONDS"),
        *("TOOL_THREADS", "EDIT_TIMEOUT", "MAX_DATA_BYTES"),
        *("SESSION_CLEANUP_INTERVAL", "SESSION_GC_THRESHOLD", "PURGE_BATCH", "EVENT_SECONDS", "MAX_EVENTS"),
        "MAX_EVENT_BYTES",
        *("KEEP_ENDED_SECONDS", "BUFFER_BYTES", "QUEUE_BYTES"),
        *("CHANNEL_LAYER", "POLL_SECONDS", "WORKER_TIMEOUT", "HEARTBEAT_SECONDS", "DRAIN_SECONDS"),
        "SESSION_METRICS",
    }
)
"""What holds for a process or its store, and so for every endpoint: read through `app_settings`."""


def option_names() -> frozenset[str]:
    return frozenset(name for name in vars(AppSettings) if name.isupper())


def handshake_revisions(path: str) -> tuple[str, ...]:
    """The revisions with a handshake that the endpoint serves, from oldest to newest."""
    return _served(path, HANDSHAKE_REVISIONS)


def modern_revisions(path: str) -> tuple[str, ...]:
    """The revisions without a handshake that the endpoint serves, from oldest to newest."""
    return _served(path, MODERN_REVISIONS)


def _served(path: str, revisions: tuple[str, ...]) -> tuple[str, ...]:
    listed = AppSettings(path).REVISIONS
    return tuple(revision for revision in revisions if revision in listed)


def served_paths() -> dict[str, str]:
    """Path → dotted path of each server object. Raises ConfigurationError if none is named."""
    served = {
        path: entry if isinstance(entry, str) else entry["SERVER"]
        for path, entry in app_settings.SERVERS.items()
    }
    if app_settings.SERVER:
        served.setdefault(DEFAULT_PATH, app_settings.SERVER)
    if not served:
        raise ConfigurationError(
            'MCP_SESSIONS names no server object. Add "SERVER": "package.module:object" to it.'
        )
    return served
