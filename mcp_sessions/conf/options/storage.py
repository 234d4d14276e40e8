from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup

DATABASE_STORE: Final = "mcp_sessions.stores.database.DatabaseSessionStore"
JSON_SERIALIZER: Final = "mcp_sessions.stores.storable.JSONSerializer"


class Storage(OptionGroup):
    """[Stores](stores.md) compares the stores, and shows how to write one.

    SQLite needs `"transaction_mode": "IMMEDIATE"` in the `OPTIONS` of the database, which a system check
    says. It also needs `PRAGMA journal_mode=WAL` if it is to serve more than a few clients. With
    `synchronous=NORMAL`, WAL survives a killed process, but not a power cut.
    """

    title = "Choose where sessions are kept"

    SESSION_STORE = Option[Mapping[str, Any]](
        {"BACKEND": DATABASE_STORE},
        kinds.STORE,
        'The dotted path of the store, and `"OPTIONS": {…}` for its constructor. The database store takes '
        "`alias`, the database to use. It is the default because it makes sessions durable and needs no "
        "other service. A [store of your own](stores.md#a-store-of-ones-own) is named in the same way: its "
        "OPTIONS are the keyword arguments of its `__init__`.",
        guide="memory",
        for_process=True,
    )
    SESSION_SERIALIZER = Option[str](
        JSON_SERIALIZER,
        kinds.SERIALIZER,
        "The dotted path of the serializer of a session's data: a module, a class or an object with "
        "`dumps` and `loads`. The default is JSON. It refuses values that JSON would not give back "
        "unchanged. Data that another serializer wrote cannot be read, and its session counts as unknown.",
        guide="(JSON)",
        for_process=True,
    )
    SESSION_ROWS = Option[bool](
        True,
        kinds.BOOLEAN,
        "Whether the database has a summary row of each session if another store keeps the sessions. It "
        "is written when the session opens and when it ends, so that the admin shows all sessions.",
        for_process=True,
    )
    MAX_DATA_BYTES = Option[int](
        1024 * 1024,
        kinds.COUNT,
        "The largest size of a session's data, serialized.",
        for_process=True,
    )
    EDIT_TIMEOUT = Option[float](
        30,
        kinds.SECONDS,
        "Seconds that an `edit()` may take, and that another `edit()` of the same session waits for it.",
        for_process=True,
    )
    STORE_THREADS = Option[int](
        4,
        kinds.COUNT,
        "The number of threads that a process has for the store. Each has a database connection of its own.",
        for_process=True,
    )
    STORE_TIMEOUT = Option[float](
        10,
        kinds.SECONDS,
        "Seconds that the store waits for an answer of the database; six times as many for a purge and "
        "other work on many rows. After that, the store counts as unavailable: the request is answered "
        "503, and the connection is closed. For Redis, write `socket_timeout` in its URL (5).",
        for_process=True,
    )
    STORE_LOCK_SECONDS = Option[float](
        5,
        kinds.SECONDS,
        "Seconds that a request waits for a row that another transaction has locked. After that, it is "
        "answered 503. At most two threads of the store wait for the same row. PostgreSQL and MariaDB end "
        "a transaction of the store that does nothing for four fifths of this time, for instance because "
        "its process was stopped.",
        for_process=True,
    )
    TOOL_THREADS = Option[int](
        32,
        kinds.COUNT,
        "The number of threads that a process has for the database queries of asynchronous tools. Further "
        "calls share them.",
        for_process=True,
    )
