"""The list as a file."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from mcp_sessions.admin import exporting
from mcp_sessions.records import EndReason
from tests.admin.conftest import LIST, METADATA, store, told

pytestmark = pytest.mark.django_db(transaction=True)


def exported(client: Client, name: str, **query: Any) -> list[dict[str, Any]]:
    response = client.get(f"{LIST}export/{name}/", query)
    assert response.status_code == 200
    assert response["Content-Disposition"] == f'attachment; filename="sessions.{name}"'
    text = response.content.decode()
    return json.loads(text) if name == "json" else list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name", ["csv", "json"])
def test_what_the_list_has_is_in_the_file(operator: Client, name: str) -> None:
    live = store(owner="ada", requests=12)
    over = store(ended_at=timezone.now(), end_reason=EndReason.IDLE)
    (found,) = exported(operator, name)
    assert (found["key"], found["state"], found["owner"]) == (live.key, "live", "ada")
    assert (found["client"], found["address"], str(found["requests"])) == ("Inspector 1.2", "192.0.2.7", "12")
    assert found["created_at"].startswith(f"{live.created_at:%Y-%m-%dT%H:%M:%S}")
    assert [each["key"] for each in exported(operator, name, state="ended")] == [over.key]
    assert [each["key"] for each in exported(operator, name, q="inspector")] == [over.key, live.key]
    assert exported(operator, name, q="nobody") == []
    assert live.digest not in str(found)


def test_the_page_links_to_what_it_lists(operator: Client) -> None:
    page = operator.get(LIST, {"state": "all"}).content.decode()
    for name in ("csv", "json"):
        assert f'href="export/{name}/?state=all"' in page


def test_a_spreadsheet_runs_nothing_of_a_clients(operator: Client) -> None:
    store(metadata={**METADATA, "client": {"name": "=HYPERLINK(1)"}})
    (found,) = exported(operator, "csv")
    assert found["client"] == "'=HYPERLINK(1)"


def test_too_many_are_refused(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MAX_ROWS", 2)
    for _ in range(2):
        store()
    assert len(exported(operator, "json")) == 2
    store()
    response = operator.get(f"{LIST}export/json/", {"state": "all"}, follow=True)
    assert told(response) == ["These are too many: narrow the list to at most 2 sessions."]
    assert response.redirect_chain == [(f"{LIST}?state=all", 302)]


def test_what_may_not_be_asked_leads_back(operator: Client) -> None:
    response = operator.get(f"{LIST}export/csv/", {"created_at__year": "x"})
    assert (response.status_code, response["Location"]) == (302, LIST)


@pytest.mark.parametrize("operator", [[]], indirect=True)
def test_it_takes_the_permission(operator: Client) -> None:
    assert operator.get(f"{LIST}export/csv/").status_code == 403
