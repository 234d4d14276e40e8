"""The contract, and what the database store promises besides."""

from __future__ import annotations

from mcp_sessions.testing.store_contract import StoreContract
from tests.stores.database.commits import CommitContract
from tests.stores.database.costs import CostContract
from tests.stores.database.deleting import DeletingContract
from tests.stores.database.exact import ExactContract
from tests.stores.database.failures import FailureContract
from tests.stores.database.fixtures import DatabaseFixtures
from tests.stores.database.many import ManyContract
from tests.stores.database.races import RaceContract
from tests.stores.database.routed import RoutedContract
from tests.stores.database.searching import SearchedContract
from tests.stores.database.threads import ThreadContract
from tests.stores.database.writing import CallersTransactionContract, WritingContract


class DatabaseContract(
    DatabaseFixtures,
    StoreContract,
    WritingContract,
    SearchedContract,
    ExactContract,
    CallersTransactionContract,
    CostContract,
    CommitContract,
    DeletingContract,
    RaceContract,
    ThreadContract,
    ManyContract,
    RoutedContract,
    FailureContract,
):
    """All of it."""
