"""Settings of the example project. What differs between machines comes from the environment:

DATABASE_URL        default: SQLite, db.sqlite3 beside manage.py
REDIS_URL           default: none, channel layer in memory (one server process)
MCP_SERVER          default: example_project.helpdesk.server:server
MCP_SESSION_STORE   database
DEBUG               default: on, so that the demo needs no preparation. Switch it off (DEBUG=0) on
                    any machine that others can reach
SECRET_KEY          needed when DEBUG is off
ALLOWED_HOSTS       with commas; default: this machine
ALLOWED_ORIGINS     with commas: pages of other origins that may call the endpoint from a browser
PORT                default: 8000
CELERY_BROKER_URL   default: filesystem://localhost/, files below STATE_DIR
STATE_DIR           default: .demo beside manage.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from example_project import environment

BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = Path(os.environ.get("STATE_DIR") or BASE_DIR / ".demo").resolve()

DEBUG = environment.flag("DEBUG", default=True)
SECRET_KEY = environment.secret_key(DEBUG)
ALLOWED_HOSTS = environment.names("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
PORT = environment.port()

INSTALLED_APPS = [
    # Before staticfiles: its runserver serves ASGI.
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "mcp_sessions",
    "example_project.helpdesk",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
WSGI_APPLICATION = "example_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": environment.database(BASE_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CHANNEL_LAYERS = {"default": environment.channel_layer()}

MCP_SERVER = os.environ.get("MCP_SERVER") or "example_project.helpdesk.server:server"
MCP_SESSIONS: dict[str, Any] = {
    "SERVER": MCP_SERVER,
    "SESSION_STORE": environment.session_store(),
    "ALLOWED_ORIGINS": environment.names("ALLOWED_ORIGINS"),
    # Who has a token of the helpdesk is its user. A visitor may try it without one.
    "AUTHENTICATORS": [
        "example_project.helpdesk.tokens.UserTokens",
        "mcp_sessions.security.authentication.AllowAnonymous",
    ],
}

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or "filesystem://localhost/"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = (
    environment.filesystem_broker(STATE_DIR) if CELERY_BROKER_URL.startswith("filesystem:") else {}
)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE_FILENAME = str(STATE_DIR / "celerybeat-schedule")
CELERY_TASK_IGNORE_RESULT = True
# No results are kept, so beat need not clean them up.
CELERY_RESULT_EXPIRES = None

# One handler at the root: without any, the SDK adds one of its own when a server object is made, which
# breaks lines in boxes of 80 columns.
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    # Django gives this one a handler too, and every line would appear twice.
    # Clients look for pages that are not there, below /.well-known: a 404 by design is no warning.
    "loggers": {"django": {"level": "INFO"}, "django.request": {"level": "ERROR"}},
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True
STATIC_URL = "static/"
