"""The example project's settings as end-to-end tests need them."""

import json
import os

from example_project.settings import *  # noqa: F403
from example_project.settings import CHANNEL_LAYERS, DATABASES, INSTALLED_APPS
from example_project.settings import MCP_SESSIONS as EXAMPLE

# A stopping server gives calls no longer than a test should wait, and what ended is purged at once.
# A busy machine may hold a database up for longer than an application should wait for it. And what a
# test wants to be different, for one server process. Tests send more than people: no rate limits. Who
# calls, and in which revision, is as it is without these settings of the example.
OF_THE_EXAMPLE = {"AUTHENTICATORS", "REVISIONS"}
MCP_SESSIONS = {
    **{name: value for name, value in EXAMPLE.items() if name not in OF_THE_EXAMPLE},
    "STORE_TIMEOUT": 60,
    "STORE_LOCK_SECONDS": 60,
    "DRAIN_SECONDS": 3,
    "KEEP_ENDED_SECONDS": 0,
    "RATE_LIMITS": {},
    **json.loads(os.environ.get("E2E_MCP_SESSIONS", "{}")),
}

# Redis has one room for all that is published on it: clusters side by side must not hear each other.
if "CONFIG" in CHANNEL_LAYERS["default"]:
    CHANNEL_LAYERS["default"]["CONFIG"]["prefix"] = os.environ.get("E2E_CHANNEL_PREFIX", "asgi")

# A broker is the machine's: what one test sends is done by the workers of that test.
if "E2E_QUEUE" in os.environ:
    CELERY_TASK_DEFAULT_QUEUE = os.environ["E2E_QUEUE"]

# Every process of a project whose signals a test listens to writes down those that it sends.
if "E2E_SIGNALS" in os.environ:
    INSTALLED_APPS = [*INSTALLED_APPS, "tests.e2e.hearing.HearingConfig"]

# What else a test has in its project.
if "E2E_APPS" in os.environ:
    INSTALLED_APPS = [*INSTALLED_APPS, *os.environ["E2E_APPS"].split(",")]

if DATABASES["default"]["ENGINE"] == "django.db.backends.mysql":
    import pymysql

    pymysql.install_as_MySQLdb()

# Nobody attacks these passwords, and a hash that withstands attacks takes longer than most tests.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
