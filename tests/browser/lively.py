"""A day, or more, in the life of a busy server: rows of sessions for pages to look at."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone

from mcp_sessions.analytics.refusals import store_refusals
from mcp_sessions.identifiers import digest_of, new_key, new_session_id
from mcp_sessions.models import Session
from mcp_sessions.records import Refusal, RefusalCount

CLIENTS: Final = {
    ("Claude Code", "2.4.1", "2025-11-25"): 34,
    ("claude-ai", "0.1.0", "2025-11-25"): 22,
    ("Visual Studio Code", "1.112.0", "2025-11-25"): 15,
    ("Cursor", "2.9.3", "2025-06-18"): 12,
    ("ChatGPT", "1.0.0", "2025-06-18"): 9,
    ("Gemini CLI", "0.31.0", "2025-06-18"): 5,
    ("Goose", "1.18.0", "2025-03-26"): 3,
    ("LibreChat", "0.8.4", "2025-03-26"): 2,
    ("mcp-remote", "0.1.38", "2024-11-05"): 1,
}
# Reasons, and the most requests of one address.
REFUSED: Final = (
    [("not_authenticated", 40)] * 40 + [("invalid_token", 12)] * 16 + [("rate_limit", 60), ("origin", 5)] * 3
)
REASONS: Final = {"deleted": 46, "expired": 38, "replaced": 9, "idle": 5, "operator": 2}


def fill(count: int, hours: int = 24, seed: int = 1) -> None:
    """So many sessions opened in the last hours, more of them by day; some still live."""
    chance = random.Random(seed)
    rows = sorted(_sessions(count, hours, chance), key=lambda row: row.created_at)
    Session.objects.bulk_create(rows, batch_size=1000)


def refuse(key: str, seed: int = 1) -> None:
    """A day of refused requests, some of which named this session or were its owner's."""
    chance, now = random.Random(seed), timezone.now()
    refusals = [
        Refusal("/mcp", "owner", "203.0.113.99", "mallory", key, 7),
        Refusal("/mcp", "insufficient_scope", "192.0.2.17", "ada", key, 2),
        *(
            Refusal("/mcp", reason, f"198.51.100.{chance.randrange(1, 255)}", count=chance.randrange(1, most))
            for reason, most in REFUSED
        ),
    ]
    ages = [5, 40, *(chance.randrange(1, 1400) for _ in REFUSED)]
    store_refusals(
        "default",
        [RefusalCount(each, now - timedelta(minutes=age)) for each, age in zip(refusals, ages, strict=True)],
    )


def _sessions(count: int, hours: int, chance: random.Random) -> Iterator[Session]:
    now = timezone.now()
    made = 0
    while made < count:
        created = now - timedelta(hours=hours * chance.random())
        # Most people sleep at night and rest on weekends.
        busy = 1.0 if 8 <= created.hour < 19 else 0.45 if 6 <= created.hour < 22 else 0.15
        if chance.random() < busy * (0.4 if created.weekday() >= 5 else 1):
            made += 1
            yield _session(created, now, chance)


def _session(created: datetime, now: datetime, chance: random.Random) -> Session:
    (name, version, revision), *_ = chance.choices(list(CLIENTS), list(CLIENTS.values()))
    over = created + timedelta(minutes=chance.lognormvariate(3.2, 0.9))
    reason, *_ = chance.choices(list(REASONS), list(REASONS.values()))
    is_over = over <= now
    seen = min(over, now - timedelta(minutes=chance.expovariate(1 / 6)))
    expires = over if is_over else now + timedelta(minutes=chance.uniform(1, 30))
    return Session(
        key=new_key(),
        digest=digest_of(new_session_id()),
        server=chance.choices(["/mcp", "/reports"], [4, 1])[0],
        created_at=created,
        last_accessed_at=max(created, seen),
        expires_at=expires,
        timeout_at=expires,
        ended_at=over if is_over else None,
        end_reason=reason if is_over else "",
        requests=chance.randrange(1, 60),
        connections=chance.randrange(0, 3),
        metadata={
            "client": {"name": name, "version": version},
            "protocol_version": revision,
            "dialect": "specification",
            "address": f"198.51.100.{chance.randrange(1, 255)}",
        },
    )
