"""What every store must do: each sentence of stores/base/, as tests that each store's class inherits.

A class that inherits gives two fixtures: `store`, and `make_late`, which sets a worker's last
beat back by so many seconds.
"""

from __future__ import annotations

from tests.stores.contract.appending import AppendContract
from tests.stores.contract.attaching import AttachContract
from tests.stores.contract.builders import make_session
from tests.stores.contract.calls import CallContract
from tests.stores.contract.charging import ChargeContract
from tests.stores.contract.claiming import ClaimContract
from tests.stores.contract.data import DataContract
from tests.stores.contract.delivering import DeliveryContract
from tests.stores.contract.expiring import ExpiryContract, StatisticsContract
from tests.stores.contract.inboxes import InboxContract, PendingRequestContract
from tests.stores.contract.inheriting import InheritanceContract
from tests.stores.contract.left import LeftContract
from tests.stores.contract.limits import LimitContract
from tests.stores.contract.news import NewsContract
from tests.stores.contract.pending import PendingContract
from tests.stores.contract.purging import PurgeContract
from tests.stores.contract.random_work import RandomWorkContract
from tests.stores.contract.rotating import RotationContract
from tests.stores.contract.sending import SendContract
from tests.stores.contract.sessions import SessionContract
from tests.stores.contract.streams import StreamContract
from tests.stores.contract.subscriptions import SubscriptionContract
from tests.stores.contract.sweeping import ShortenContract, SweepContract, TrimmedContract
from tests.stores.contract.taking import TakeContract
from tests.stores.contract.taking_over import TakingOverContract
from tests.stores.contract.tokens import TokenContract
from tests.stores.contract.workers import HeartbeatContract, LeavingContract

__all__ = ["StoreContract", "make_session"]


class StoreContract(
    SessionContract,
    LimitContract,
    ExpiryContract,
    StatisticsContract,
    PurgeContract,
    RotationContract,
    DataContract,
    SubscriptionContract,
    StreamContract,
    AppendContract,
    TokenContract,
    SendContract,
    CallContract,
    PendingContract,
    AttachContract,
    LeftContract,
    TakingOverContract,
    TakeContract,
    DeliveryContract,
    SweepContract,
    ShortenContract,
    TrimmedContract,
    InboxContract,
    PendingRequestContract,
    ClaimContract,
    ChargeContract,
    NewsContract,
    HeartbeatContract,
    InheritanceContract,
    LeavingContract,
    RandomWorkContract,
):
    """All of it."""
