"""What differs in case or accents is different, also where databases see no difference by default."""

from __future__ import annotations

import pytest

from mcp_sessions.analytics.aggregates import hour_of
from mcp_sessions.analytics.hours import store as store_hour
from mcp_sessions.analytics.refusals import refusals, refusals_about, refused_by_hour, store_refusals
from mcp_sessions.models import Session, SessionHour
from mcp_sessions.records import Refusal, RefusalCount
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, put

PAIRS = [
    ("user:Ann", "user:ann"),
    ("user:René", "user:Rene"),
    ("user:ß", "user:ss"),
    ("user:\uff41", "user:a"),
]


def refuse(alias: str, owner: str, server: str = "/mcp") -> None:
    refusal = Refusal(server, "owner", "192.0.2.7", owner, "", 1)
    store_refusals(alias, [RefusalCount(refusal, NOW)])


class ExactContract:
    @pytest.mark.parametrize("one, other", PAIRS)
    def test_owners_are_compared_exactly(
        self, store: DatabaseSessionStore, alias: str, one: str, other: str
    ) -> None:
        one, other = f"user:{one}", f"user:{other}"
        for owner in (one, other):
            put(store, owner=owner)
            refuse(alias, owner)
        assert [row.owner for row in Session.objects.using(alias).filter(owner=one)] == [one]
        assert [row.owner for row in refusals_about(alias, "a-key", other)] == [other]

    def test_endpoints_are_compared_exactly(self, store: DatabaseSessionStore, alias: str) -> None:
        for server in ("/mcp", "/MCP"):
            put(store, server=server, ended_at=NOW, end_reason="deleted")
            refuse(alias, "", server)
        assert refusals(alias, "/MCP").count() == 1
        [hour] = refused_by_hour(alias, "/mcp", hour_of(NOW), hour_of(NOW) + HOUR)
        assert hour["counts"] == {"owner": 1}
        store_hour(alias, hour_of(NOW))
        hours = SessionHour.objects.using(alias).order_by("server").values_list("server", "opened")
        assert sorted(hours) == [("", 2), ("/MCP", 1), ("/mcp", 1)]
