"""A database of its own, with as many sessions as asked for, made by the database itself.

As if nothing had been purged for 30 hours: every session that there was, most of them over for a long
time, and all their streams.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

SERVER_URL: Final = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/postgres")

SPAN: Final = timedelta(hours=30)
"""Sessions were opened evenly in the time until now."""
LONG: Final = 10_000
"""Events in the reply streams of the first ten sessions that have any."""
CLIENTS: Final = [
    ("claude-code", "2.0.14", "2025-11-25"),
    ("claude-code", "2.0.11", "2025-11-25"),
    ("cursor-vscode", "1.7.52", "2025-06-18"),
    ("Visual Studio Code", "1.105.1", "2025-06-18"),
    ("openai-mcp", "1.0.0", "2025-06-18"),
    ("python-sdk", "0.1.0", "2025-11-25"),
    ("typescript-sdk", "1.22.0", "2025-03-26"),
    ("legacy-bridge", "0.3.9", "2024-11-05"),
]
MESSAGE: Final = {
    "jsonrpc": "2.0",
    "method": "notifications/progress",
    "params": {"progressToken": "7", "progress": 17, "total": 40, "message": "Reading the order's history"},
}

# What is drawn by chance is drawn here, once. A session is used for a quarter of an hour on average.
DRAWN: Final = """
SELECT begun.*, opened_at - ln(1 - random()) * interval '15 minutes' AS used_until
FROM (
    SELECT i, %(now)s - %(span)s * (1 - (i - random()) / %(sessions)s) AS opened_at, random() AS fate,
        1 + floor(power(random(), 2) * %(clients)s)::int AS client_no, floor(random() * 20000)::int AS who
    FROM generate_series(1, %(sessions)s) i
) begun
"""
# Of ten sessions seven run out, half an hour later. Those of the last minutes have not been ended yet.
LIVED: Final = f"""
SELECT drawn.*, least(used_until, %(now)s) AS seen_at,
    least(used_until, %(now)s) + interval '30 minutes' AS runs_out_at,
    CASE
        WHEN fate >= 0.7 AND used_until < %(now)s THEN used_until
        WHEN used_until < %(now)s - interval '35 minutes' THEN used_until + interval '30 minutes'
    END AS over_at,
    CASE WHEN who %% 5 < 2 THEN 'user-' || who ELSE '' END AS owned_by,
    '10.0.' || who %% 5000 / 250 || '.' || 1 + who %% 250 AS came_from
FROM ({DRAWN}) drawn
"""
COLUMNS: Final = {
    "key": "substr(md5('key' || i), 1, 24)",
    "digest": "md5('id' || i) || md5('more of it' || i)",
    "server": "CASE WHEN i %% 10 = 0 THEN '/reports' ELSE '/mcp' END",
    "owner": "owned_by",
    "created_at": "opened_at",
    "last_accessed_at": "seen_at",
    "expires_at": "runs_out_at",
    "timeout_at": "runs_out_at",
    "ended_at": "over_at",
    "end_reason": (
        "CASE WHEN over_at IS NULL THEN '' WHEN fate < 0.7 THEN 'expired' WHEN fate < 0.95 THEN 'deleted'"
        " WHEN fate < 0.99 THEN 'replaced' ELSE 'operator' END"
    ),
    "principal": "md5(owned_by || came_from)",
    "requests": "1 + floor(extract(epoch FROM seen_at - opened_at) / 30)",
    "connections": "i %% 3",
    "metadata": (
        "(%(said)s::jsonb[])[client_no] || jsonb_build_object('address', came_from,"
        " 'dialect', CASE WHEN i %% 50 = 0 THEN 'guide' ELSE 'specification' END)"
    ),
    "data": """CASE WHEN i %% 3 = 0 THEN '{"basket": ["sku-' || i || '"], "step": 3}' ELSE '{}' END""",
    "lease_token": "''",
    # Where the model has them.
    "client": "(%(names)s::text[])[client_no]",
    "address": "came_from",
}
STREAMS: Final = """
INSERT INTO mcp_sessions_stream
    (name, session_id, kind, request_ids, idle_since, position, delivered, created_at, ended_at)
SELECT substr(md5(kind || id), 1, 16), id, kind, CASE kind WHEN 'post' THEN '[7]' ELSE '' END,
    last_accessed_at, length, length, created_at,
    CASE kind WHEN 'post' THEN last_accessed_at ELSE ended_at END
FROM (
    SELECT s.*, kind, CASE WHEN kind = 'post' AND s.id <= 30 THEN %(long)s ELSE 3 END AS length
    FROM mcp_sessions_session s, unnest(ARRAY['get', 'post']) kind
    WHERE s.id %% 3 = 0
) s
"""
EVENTS: Final = """
INSERT INTO mcp_sessions_streamevent (stream_id, position, name, data, created_at)
SELECT s.id, number, 'message', %(message)s, s.created_at
FROM mcp_sessions_stream s, generate_series(1, s.position) number
"""
HOURS_BEFORE: Final = """
INSERT INTO mcp_sessions_sessionhour ({columns})
SELECT {values} FROM mcp_sessions_sessionhour, generate_series(1, 6) day
WHERE hour >= %(now)s - interval '25 hours'
    AND hour - day * interval '24 hours' < (SELECT min(hour) FROM mcp_sessions_sessionhour)
ON CONFLICT DO NOTHING
"""


@contextmanager
def new_database(*, keep: bool) -> Iterator[str]:
    """The URL of an empty database on the PostgreSQL server, which goes when it is left."""
    import psycopg

    name = f"mcp_sessions_bench_{os.getpid()}_{uuid4().hex[:8]}"
    with psycopg.connect(SERVER_URL, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(urlsplit(SERVER_URL)._replace(path=f"/{name}"))
    finally:
        if not keep:
            with psycopg.connect(SERVER_URL, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def fill(sessions: int, now: datetime) -> None:
    """So many sessions, two streams for a third of them, and three events in most of these."""
    params = {
        "now": now,
        "span": SPAN,
        "sessions": sessions,
        "clients": len(CLIENTS),
        "said": [json.dumps(_said(*client)) for client in CLIENTS],
        "names": [f"{name} {version}" for name, version, _ in CLIENTS],
        "long": min(LONG, sessions),
        "message": json.dumps(MESSAGE),
    }
    for statement in ("SELECT setseed(0.4)", _sessions(), STREAMS, EVENTS):
        _execute(statement, params)


def add_hours_before(now: datetime) -> None:
    """The days before were like the last one: their sessions are deleted, their hours are there."""
    from mcp_sessions.models import SessionHour

    names = [field.column for field in SessionHour._meta.fields if not field.primary_key]
    moved = ["hour - day * interval '24 hours'" if name == "hour" else name for name in names]
    _execute(HOURS_BEFORE.format(columns=", ".join(names), values=", ".join(moved)), {"now": now})


def settle() -> None:
    """What autovacuum does in time."""
    _execute("VACUUM (ANALYZE)", {})


def _sessions() -> str:
    from mcp_sessions.models import Session

    there = {field.column for field in Session._meta.fields}
    columns = {name: value for name, value in COLUMNS.items() if name in there}
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO mcp_sessions_session ({names}) SELECT {', '.join(columns.values())} FROM ({LIVED}) s"


def _said(name: str, version: str, revision: str) -> dict[str, Any]:
    """A session's metadata, as opening one writes it."""
    return {
        "protocol_version": revision,
        "initialized": True,
        "client": {"name": name, "version": version},
        "capabilities": {"roots": {"listChanged": True}, "sampling": {}, "elicitation": {}},
        "user_agent": f"{name}/{version} (linux; x64)",
    }


def _execute(statement: str, params: Mapping[str, Any]) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(statement, params)
