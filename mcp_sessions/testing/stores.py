"""The contract of session stores as a suite of tests. It needs pytest; StoreContract says how to run it."""

from __future__ import annotations

import pytest

# Before the import: pytest then explains the failed assertions of these modules as it does a test's own.
pytest.register_assert_rewrite("mcp_sessions.testing.store_contract")

from mcp_sessions.testing.store_contract import MakeLate, StoreContract  # noqa: E402

__all__ = ["MakeLate", "StoreContract"]
