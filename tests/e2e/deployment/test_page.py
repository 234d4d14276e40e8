"""The other examples of docs/deployment.md: settings with all services, and health checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from celery import Celery
from django.test import RequestFactory

from tests.e2e.operations.celery_processes import celery_worker
from tests.e2e.operations.conftest import Operated
from tests.harness.pages import examples, page
from tests.harness.server import ROOT, START_DEADLINE, manage, wait_until
from tests.harness.services import REDIS, needed

PAGE: Final = page("deployment.md")
SHOWN: Final = examples("deployment.md")
COUNT: Final = 3


def test_every_example_is_looked_at() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    assert [name for name in SHOWN if f'"{name}"' not in tests] == []
    assert len(SHOWN) == PAGE.count("<!-- tested: ") == PAGE.count("```") // 2


def test_a_purge_with_all_services(operated: Operated) -> None:
    """A worker on the documented settings is sent one by the documented broker."""
    names: dict[str, Any] = {}
    exec(SHOWN["services"], names)
    needed(REDIS, "Redis")
    needed(names["CELERY_BROKER_URL"], "RabbitMQ")
    settings = {"DJANGO_SETTINGS_MODULE": "tests.e2e.deployment.settings", "E2E_SERVICES": "1"}
    env = {**operated.env, **settings}
    # What is to be deployed so has nothing that the checks object to.
    assert "no issues" in manage("check", "--deploy", "--tag", "mcp_sessions", env=env)
    operated.run_out(COUNT)
    with celery_worker(operated.folder, names["CELERY_BROKER_URL"], env) as worker:
        worker.purge()
        assert wait_until(lambda: operated.number("ended_at IS NULL") == 0, START_DEADLINE), worker.log()
    assert operated.number() == COUNT


def test_the_schedule() -> None:
    names: dict[str, Any] = {"app": Celery("shop", set_as_current=False)}
    exec(SHOWN["celery"], names)
    assert "mcp-sessions-purge" in names["app"].conf.beat_schedule


@pytest.mark.django_db
def test_the_view_that_asks_the_database(django_assert_num_queries: Any) -> None:
    names: dict[str, Any] = {}
    exec(SHOWN["health"], names)
    with django_assert_num_queries(1):
        assert names["healthy"](RequestFactory().get("/healthy")).status_code == 200


def test_the_static_files_are_where_the_proxy_looks() -> None:
    names: dict[str, Any] = {}
    exec(SHOWN["static"], names)
    proxy = (ROOT / "docs/deployment/nginx.conf").read_text()
    assert f"location /{names['STATIC_URL']} {{\n        alias {names['STATIC_ROOT']}/;" in proxy
