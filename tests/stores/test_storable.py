"""What is refused and what is replaced, without a database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions.exceptions import InvalidSessionData
from mcp_sessions.stores.storable import (
    JSONSerializer,
    deserialize,
    digest_of_uri,
    serialize,
    storable_json,
    storable_text,
)
from mcp_sessions.testing.store_contract.data import KEPT_DATA, REFUSED_DATA, nested

# Python's JSON writes these, as something else.
MISTAKEN_DATA: list[dict[Any, Any]] = [
    {7: "a number for a name"},
    {7: 1, "7": 2},
    {"a": {None: 1}},
    {"a": [{True: 1}]},
    {"tuple": (1, 2)},
]

ANY_TEXT = st.text(st.characters(exclude_categories=()))
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
)


@given(ANY_TEXT)
def test_text_becomes_storable(text: str) -> None:
    kept = storable_text(text)
    assert len(kept) == len(text)
    assert "\x00" not in kept
    assert kept.encode().decode() == kept
    assert storable_text(kept) == kept
    assert len(digest_of_uri(text)) == 64


@given(st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4))
def test_what_was_made_storable_passes_the_check(value: dict[str, Any]) -> None:
    kept = storable_json(value)
    assert deserialize(serialize(kept)) == kept
    assert storable_json(kept) == kept


@given(st.dictionaries(ANY_TEXT, ANY_JSON, max_size=4))
def test_the_check_refuses_exactly_what_would_be_replaced(value: dict[str, Any]) -> None:
    try:
        kept = deserialize(JSONSerializer().dumps(value))
    except InvalidSessionData:
        assert json.dumps(storable_json(value)) != json.dumps(value)
    else:
        assert json.dumps(storable_json(value)) == json.dumps(kept)


@pytest.mark.parametrize("data", [*KEPT_DATA, nested(31)])
def test_data_that_is_kept(data: dict[str, Any]) -> None:
    assert deserialize(serialize(data)) == data


@pytest.mark.parametrize("data", [*REFUSED_DATA, *MISTAKEN_DATA, nested(32), nested(100_000)])
def test_data_that_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidSessionData):
        serialize(data)


def test_data_that_contains_itself_is_refused() -> None:
    data: dict[str, Any] = {}
    data["self"] = data
    with pytest.raises(InvalidSessionData):
        serialize(data)
