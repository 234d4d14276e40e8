"""Settings of the test run.

`TEST_DATABASE` chooses what `default` is: sqlite (nothing need run), postgres or mysql. Where a
server answers on this machine, the aliases "postgres" and "mariadb" are there besides, for the
tests that every database must pass.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

# A commit is not waited for until it is on the disk, by this process and those it starts. Only a crash
# of the database server could lose it, and that is not tested.
os.environ.setdefault("PGOPTIONS", "-c synchronous_commit=off")

SECRET_KEY = "only for tests, and long enough that no check has anything to say about it"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
ROOT_URLCONF = "tests.urls"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "mcp_sessions",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Nobody attacks these passwords, and a hash that withstands attacks takes longer than most tests.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Without any handler at the root the SDK adds one of its own, which renders tracebacks for a second each.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"null": {"class": "logging.NullHandler"}},
    "root": {"handlers": ["null"]},
}

TOKENS = {name: f"{name}-token-0123456789" for name in ("ann", "ben")}
TOKEN_DIGESTS = {name: sha256(token.encode()).hexdigest() for name, token in TOKENS.items()}

# One endpoint for every option that some test wants to be different.
MCP_SESSIONS: dict[str, Any] = {
    "SERVERS": {
        # Long enough that a reply becomes a stream only when a test means it to.
        "/mcp": {"SERVER": "tests.servers:server", "STREAM_AFTER_SECONDS": 60},
        "/soon": {"SERVER": "tests.servers:server", "STREAM_AFTER_SECONDS": 0.05},
        "/small": {"SERVER": "tests.servers:server", "MAX_BODY_BYTES": 2000, "MAX_BATCH": 3},
        "/origins": {"SERVER": "tests.servers:server", "ALLOWED_ORIGINS": ["https://app.example"]},
        "/other": "tests.servers:other",
        "/old": {"SERVER": "tests.servers:server", "SSE_PATHS": ["/sse", "/old/messages"]},
        "/handshake": {
            "SERVER": "tests.servers:server",
            "REVISIONS": ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"],
        },
        "/tokens": {
            "SERVER": "tests.servers:server",
            "AUTHENTICATORS": [
                {
                    "BACKEND": "mcp_sessions.security.authentication.StaticTokens",
                    "OPTIONS": {"tokens": TOKEN_DIGESTS, "scopes": ["read"]},
                }
            ],
            "REQUIRED_SCOPES": ["read"],
            "AUTHORIZATION_SERVERS": ["https://login.example"],
        },
        # Needs more than the tokens permit, and is known to the world by another URL.
        "/scoped": {
            "SERVER": "tests.servers:server",
            "AUTHENTICATORS": [
                {
                    "BACKEND": "mcp_sessions.security.authentication.StaticTokens",
                    "OPTIONS": {"tokens": TOKEN_DIGESTS, "scopes": ["read"]},
                }
            ],
            "REQUIRED_SCOPES": ["read", "write", "offline_access"],
            "AUTHORIZATION_SERVERS": ["https://login.example"],
            "RESOURCE_URL": "https://api.example/shop/scoped",
        },
        "/login": {
            "SERVER": "tests.servers:server",
            "AUTHENTICATORS": ["mcp_sessions.security.authentication.DjangoSessions"],
        },
        "/baskets": "tests.baskets:server",
        "/fast-baskets": "tests.baskets:fast",
        "/own-baskets": {
            "SERVER": "tests.baskets:server",
            "AUTHENTICATORS": [
                {
                    "BACKEND": "mcp_sessions.security.authentication.StaticTokens",
                    "OPTIONS": {"tokens": TOKEN_DIGESTS},
                },
                "mcp_sessions.security.authentication.AllowAnonymous",
            ],
        },
        **{
            f"/{name}-deeds": {
                "SERVER": f"tests.deeds:{name}",
                "REVISIONS": ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"],
                "ONCE": {"by_*": {"key": ["order"]}},
                "MAX_ONCE_CALLS": 5,
                "STREAM_AFTER_SECONDS": 60,
                "AUTHENTICATORS": [
                    {
                        "BACKEND": "mcp_sessions.security.authentication.StaticTokens",
                        "OPTIONS": {"tokens": TOKEN_DIGESTS},
                    },
                    "mcp_sessions.security.authentication.AllowAnonymous",
                ],
            }
            for name in ("sdk", "fast", "low")
        },
        "/strict": {"SERVER": "tests.servers:server", "STRICT_ACCEPT": True},
    },
    # Calls that a test leaves behind need not be waited for.
    "DRAIN_SECONDS": 0.2,
    # A busy machine may hold a database up for longer than an application should wait for it.
    "STORE_TIMEOUT": 60,
    "STORE_LOCK_SECONDS": 60,
    # Tests send more than people: those of limits set them.
    "RATE_LIMITS": {},
    # What becomes of headers of any length, also those that a server would not let through.
    "MAX_HEADER_BYTES": 10**6,
    # What tests purge has just ended.
    "KEEP_ENDED_SECONDS": 0,
    # Written by the tests that are about them.
    "KEEP_REFUSALS_SECONDS": 0,
    # The first look is at a moment of chance within it: not while a test counts what is asked.
    "SESSION_CLEANUP_INTERVAL": 10**9,
}

# Several runs may share the servers, and several processes a run: each has databases of its own,
# and a process that a test starts finds those of its test.
RUN = os.environ.setdefault("TEST_RUN", str(os.getpid())) + os.environ.get("PYTEST_XDIST_WORKER", "")
FILES = Path(tempfile.gettempdir()) / "mcp_sessions_tests"
FILES.mkdir(exist_ok=True)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
    except OSError:
        return False
    return True


def sqlite(name: str) -> dict[str, Any]:
    # A file and not memory: the store's threads share it.
    path = str(FILES / f"{name}-{RUN}.sqlite3")
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "TEST": {"NAME": path},
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def postgres(name: str) -> dict[str, Any]:
    database = f"test_mcp_sessions_{name}_{RUN}"
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "USER": "postgres",
        "NAME": database,
        "TEST": {"NAME": database, "DEPENDENCIES": []},
    }


def mariadb(name: str) -> dict[str, Any]:
    if "MySQLdb" not in sys.modules:
        import_module("pymysql").install_as_MySQLdb()
    database = f"test_mcp_sessions_{name}_{RUN}"
    return {
        "ENGINE": "django.db.backends.mysql",
        "HOST": "127.0.0.1",
        "USER": "root",
        "NAME": database,
        # Each of pymysql's connections reads all certificates of the system, which takes longer than a test.
        "OPTIONS": {"charset": "utf8mb4", "ssl_disabled": True},
        "TEST": {"NAME": database, "CHARSET": "utf8mb4", "DEPENDENCIES": []},
    }


_CHOICES = {"sqlite": sqlite, "postgres": postgres, "mysql": mariadb}
DATABASES = {"default": _CHOICES[os.environ.get("TEST_DATABASE", "sqlite")]("default")}
if answers(5432):
    DATABASES["postgres"] = postgres("other")
if answers(3306):
    DATABASES["mariadb"] = mariadb("other")
