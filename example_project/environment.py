"""The example's settings as they are read from environment variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

INSECURE_KEY: Final = "insecure-key-of-the-example-for-development-only-never-for-a-server-others-reach"

# Many processes write to one file: a transaction that takes the write lock when it begins waits for
# its turn, one that takes it halfway fails at once. WAL lets readers go on meanwhile.
SQLITE_OPTIONS: Final[dict[str, Any]] = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
}
STORES: Final = {"database": "mcp_sessions.stores.database.DatabaseSessionStore"}


def flag(name: str, default: bool) -> bool:
    value = os.environ.get(name, "").strip().lower()
    if value in {"", "1", "true", "yes", "on", "0", "false", "no", "off"}:
        return value in {"1", "true", "yes", "on"} if value else default
    raise ImproperlyConfigured(f"{name}={value!r} is neither on nor off. Use 1 or 0.")


def names(name: str, default: list[str] | None = None) -> list[str]:
    """A list with commas; the default where there is nothing in it."""
    return [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()] or default or []


def port() -> int:
    value = os.environ.get("PORT") or "8000"
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise ImproperlyConfigured(f"PORT={value!r} is not a port. Use a number from 1 to 65535.")
    return int(value)


def secret_key(debug: bool) -> str:
    key = os.environ.get("SECRET_KEY", "")
    if not key and not debug:
        raise ImproperlyConfigured(
            "DEBUG is off and SECRET_KEY is not set. Session events are sealed with it and logins are signed "
            "with it: set SECRET_KEY to a long random string, the same one in every process."
        )
    return key or INSECURE_KEY


def database(base: Path) -> dict[str, Any]:
    url = os.environ.get("DATABASE_URL") or f"sqlite:///{base / 'db.sqlite3'}"
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(url))
    except (dj_database_url.UnknownSchemeError, dj_database_url.ParseError) as error:
        # The URL itself stays out of the message: it may hold a password.
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read. Use sqlite:////absolute/path or postgresql://user:password@host/name."
        ) from error
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["OPTIONS"] = {**SQLITE_OPTIONS, **config.get("OPTIONS", {})}
    return config


def channel_layer() -> dict[str, Any]:
    url = os.environ.get("REDIS_URL")
    if not url:
        return {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    return {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [url]}}


def session_store() -> dict[str, Any]:
    chosen = os.environ.get("MCP_SESSION_STORE") or "database"
    if chosen not in STORES:
        raise ImproperlyConfigured(f"MCP_SESSION_STORE={chosen!r} is not known. Choose: {', '.join(STORES)}.")
    return {"BACKEND": STORES[chosen]}


def filesystem_broker(state: Path) -> dict[str, Any]:
    """What Celery's broker needs that passes messages as files, so that no server is needed."""
    queue = str(state / "queue")
    return {"data_folder_in": queue, "data_folder_out": queue, "control_folder": str(state / "control")}
