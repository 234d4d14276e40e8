from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.example.conftest import Example

SHOW = """
import json
from django.conf import settings
names = ["DEBUG", "SECRET_KEY", "ALLOWED_HOSTS", "PORT", "DATABASES", "CHANNEL_LAYERS", "MCP_SESSIONS",
         "CELERY_BROKER_URL", "CELERY_BROKER_TRANSPORT_OPTIONS"]
print(json.dumps({name: getattr(settings, name) for name in names}))
"""


def settings(
    example: Example, module: str = "example_project.settings", **environment: str
) -> dict[str, Any]:
    done = example.run(sys.executable, "-c", SHOW, DJANGO_SETTINGS_MODULE=module, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def complaint(example: Example, **environment: str) -> str:
    done = example.run(
        sys.executable, "-c", SHOW, DJANGO_SETTINGS_MODULE="example_project.settings", **environment
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: ")
    return last


def test_with_nothing_set(example: Example) -> None:
    del example.environment["DATABASE_URL"]
    found = settings(example)
    assert found["DEBUG"] is True
    assert found["SECRET_KEY"].startswith("insecure")
    assert found["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert found["PORT"] == 8000
    assert found["CHANNEL_LAYERS"]["default"] == {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    assert found["MCP_SESSIONS"] == {
        "SERVER": "example_project.helpdesk.server:server",
        "SESSION_STORE": {"BACKEND": "mcp_sessions.stores.database.DatabaseSessionStore"},
        "ALLOWED_ORIGINS": [],
        "AUTHENTICATORS": [
            "example_project.helpdesk.tokens.UserTokens",
            "mcp_sessions.security.authentication.AllowAnonymous",
        ],
    }
    assert Path(found["DATABASES"]["default"]["NAME"]).name == "db.sqlite3"
    assert found["CELERY_BROKER_URL"].startswith("filesystem:")
    queue = Path(example.environment["STATE_DIR"], "queue")
    assert found["CELERY_BROKER_TRANSPORT_OPTIONS"]["data_folder_in"] == str(queue)


def test_sqlite_has_wal_and_immediate_transactions_whatever_the_url(example: Example) -> None:
    for url in ("", "sqlite:////somewhere/else.sqlite3"):
        options = settings(example, DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]
        assert options["transaction_mode"] == "IMMEDIATE"
        assert "journal_mode=WAL" in options["init_command"]


def test_options_in_the_url_win(example: Example) -> None:
    found = settings(example, DATABASE_URL="sqlite:////somewhere.sqlite3?timeout=3")
    assert found["DATABASES"]["default"]["OPTIONS"]["timeout"] == 3


def test_wal_is_really_on(migrated: Example) -> None:
    assert migrated.query("PRAGMA journal_mode") == [("wal",)]


def test_everything_set(example: Example) -> None:
    found = settings(
        example,
        DATABASE_URL="postgresql://someone:secret@database.example:5433/helpdesk",
        REDIS_URL="redis://redis.example:6379/2",
        MCP_SERVER="shop.server:mcp",
        MCP_SESSION_STORE="database",
        SECRET_KEY="a long secret",
        DEBUG="0",
        ALLOWED_HOSTS="shop.example, www.shop.example",
        ALLOWED_ORIGINS="https://shop.example,",
        PORT="9000",
        CELERY_BROKER_URL="redis://redis.example:6379/3",
    )
    database = found["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.postgresql"
    assert (database["HOST"], str(database["PORT"]), database["NAME"]) == (
        "database.example",
        "5433",
        "helpdesk",
    )
    assert found["CHANNEL_LAYERS"]["default"]["CONFIG"] == {"hosts": ["redis://redis.example:6379/2"]}
    assert found["MCP_SESSIONS"]["SERVER"] == "shop.server:mcp"
    assert found["MCP_SESSIONS"]["ALLOWED_ORIGINS"] == ["https://shop.example"]
    assert found["SECRET_KEY"] == "a long secret"
    assert found["DEBUG"] is False
    assert found["ALLOWED_HOSTS"] == ["shop.example", "www.shop.example"]
    assert found["PORT"] == 9000
    assert found["CELERY_BROKER_URL"] == "redis://redis.example:6379/3"
    assert found["CELERY_BROKER_TRANSPORT_OPTIONS"] == {}


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"DEBUG": "0"}, "SECRET_KEY is not set"),
        ({"DEBUG": "perhaps"}, "DEBUG='perhaps' is neither on nor off"),
        ({"MCP_SESSION_STORE": "tape"}, "MCP_SESSION_STORE='tape' is not known. Choose: database"),
        ({"PORT": "http"}, "PORT='http' is not a port"),
        ({"PORT": "70000"}, "PORT='70000' is not a port"),
        ({"DATABASE_URL": "oracle9i://hunter2@host/name"}, "DATABASE_URL cannot be read"),
    ],
)
def test_what_cannot_be_is_said(example: Example, environment: dict[str, str], words: str) -> None:
    said = complaint(example, **environment)
    assert words in said
    assert "hunter2" not in said


def test_another_settings_module_can_import_and_change_them(example: Example) -> None:
    (example.folder / "other_settings.py").write_text(
        "from example_project.settings import *\n"
        'MCP_SESSIONS["SESSION_TIMEOUT"] = 60\n'
        'MCP_SESSIONS = {**MCP_SESSIONS, "MAX_BATCH": 3}\n'
    )
    found = settings(example, "other_settings")["MCP_SESSIONS"]
    assert (found["SESSION_TIMEOUT"], found["MAX_BATCH"]) == (60, 3)
    assert found["SERVER"] == "example_project.helpdesk.server:server"


def test_manage_py_leaves_a_chosen_settings_module_alone(example: Example) -> None:
    (example.folder / "other_settings.py").write_text(
        "from example_project.settings import *\nMARK = 'mine'\n"
    )
    show = "from django.conf import settings; print(settings.MARK)"
    assert "mine" in example.manage("shell", "-v0", "-c", show, DJANGO_SETTINGS_MODULE="other_settings")


def test_no_migration_is_missing(migrated: Example) -> None:
    assert "No changes detected" in migrated.manage("makemigrations", "--check", "--dry-run")


def test_system_checks_have_nothing_to_say(migrated: Example) -> None:
    migrated.manage("check", "--fail-level", "WARNING")
