"""The contract on data with a serializer that writes bytes, and what becomes of data when it changes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from mcp_sessions.conf import JSON_SERIALIZER
from mcp_sessions.exceptions import InvalidSessionData, SessionEnded
from mcp_sessions.models import Session
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, put
from mcp_sessions.testing.store_contract.data import REFUSED_DATA, DataContract, nested
from mcp_sessions.testing.store_contract.observing import reload
from tests.serializers import COMPRESSED
from tests.stores.database.aliases import on
from tests.stores.database.fixtures import DatabaseFixtures

# What no database refuses in bytes.
TEXTS = [data for data in REFUSED_DATA if all(isinstance(value, str | int) for value in data.values())]
NO_JSON = [data for data in REFUSED_DATA if data not in TEXTS]

Choose = Callable[[str], None]


@pytest.fixture
def choose(settings: Any, store: BaseSessionStore) -> Choose:
    """Set SESSION_SERIALIZER."""

    def choose(path: str) -> None:
        settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_SERIALIZER": path}

    return choose


@on("default")
class TestCompressed(DatabaseFixtures, DataContract):
    """On one database: what the serializer writes is kept as text, which each keeps (contract/data.py)."""

    @pytest.fixture
    def alias(self) -> str:
        return "default"

    @pytest.fixture(autouse=True)
    def compressed(self, choose: Choose) -> None:
        choose(COMPRESSED)

    @pytest.mark.parametrize("data", [*TEXTS, nested(32)])
    def test_what_only_text_cannot_have_comes_back(
        self, store: BaseSessionStore, data: dict[str, Any]
    ) -> None:
        session = put(store, data=data)
        assert reload(store, session).data == data

    @pytest.mark.parametrize("data", [*NO_JSON, nested(100_000)])
    def test_data_that_is_no_json_is_refused(self, store: BaseSessionStore, data: dict[str, Any]) -> None:
        session = put(store, data={"count": 1})
        store.lease(session.key, "mine", NOW, NOW + HOUR)
        with pytest.raises(InvalidSessionData):
            store.release(session.key, "mine", data)
        assert store.lease(session.key, "next", NOW, NOW + HOUR) == {"count": 1}

    @pytest.mark.parametrize(
        ("writer", "reader"), [(JSON_SERIALIZER, COMPRESSED), (COMPRESSED, JSON_SERIALIZER)]
    )
    def test_what_another_serializer_wrote_reads_as_absent_and_stays(
        self,
        store: BaseSessionStore,
        choose: Choose,
        caplog: pytest.LogCaptureFixture,
        writer: str,
        reader: str,
    ) -> None:
        choose(writer)
        session = put(store, data={"count": 1})
        choose(reader)
        assert store.load(session.digest) is store.load_by_key(session.key) is None
        for _ in range(2):
            with pytest.raises(SessionEnded):
                store.lease(session.key, "mine", NOW, NOW + HOUR)
        assert {(record.name, record.levelno) for record in caplog.records} == {
            ("mcp_sessions.stores", logging.ERROR)
        }
        assert session.key in caplog.text
        choose(writer)
        assert reload(store, session).data == {"count": 1}
        assert store.lease(session.key, "mine", NOW, NOW + HOUR) == {"count": 1}

    def test_bytes_are_kept_as_text(self, store: BaseSessionStore) -> None:
        session = put(store, data={"count": 1})
        assert Session.objects.get(key=session.key).data.startswith("base64:")
