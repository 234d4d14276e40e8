"""What every store must do: each sentence of mcp_sessions.stores.base, as tests.

Import `StoreContract` from `mcp_sessions.testing.stores`. A subclass has three fixtures: `store`, a store
with nothing in it; `options`, with which another process makes the same store; and `make_late`, which
returns a `MakeLate`: a function that sets a worker's last heartbeat back.
"""

from __future__ import annotations

from mcp_sessions.testing.store_contract.abandoned import AbandonedContract
from mcp_sessions.testing.store_contract.append import AppendContract
from mcp_sessions.testing.store_contract.attachments import AttachmentContract
from mcp_sessions.testing.store_contract.builders import make_session
from mcp_sessions.testing.store_contract.calls import CallContract
from mcp_sessions.testing.store_contract.data import DataContract
from mcp_sessions.testing.store_contract.deletion import (
    DeletionContract,
    ResumeAfterTrimContract,
    TrimContract,
)
from mcp_sessions.testing.store_contract.delivery import DeliveryContract
from mcp_sessions.testing.store_contract.expiry import ExpiryContract, StatisticsContract
from mcp_sessions.testing.store_contract.failover import FailoverContract
from mcp_sessions.testing.store_contract.inboxes import InboxContract, PendingRequestContract
from mcp_sessions.testing.store_contract.limits import LimitContract
from mcp_sessions.testing.store_contract.notifications import NotificationContract
from mcp_sessions.testing.store_contract.once_calls import OnceCallContract
from mcp_sessions.testing.store_contract.pending import PendingContract
from mcp_sessions.testing.store_contract.processes import ProcessContract
from mcp_sessions.testing.store_contract.purge import PurgeContract
from mcp_sessions.testing.store_contract.random_work import RandomWorkContract
from mcp_sessions.testing.store_contract.rate_limits import RateLimitContract
from mcp_sessions.testing.store_contract.retries import RetryContract
from mcp_sessions.testing.store_contract.rotation import RotationContract
from mcp_sessions.testing.store_contract.send import SendContract
from mcp_sessions.testing.store_contract.sessions import SessionContract
from mcp_sessions.testing.store_contract.streams import StreamContract
from mcp_sessions.testing.store_contract.subscriptions import SubscriptionContract
from mcp_sessions.testing.store_contract.take import TakeContract
from mcp_sessions.testing.store_contract.takeover import TakeoverContract
from mcp_sessions.testing.store_contract.workers import HeartbeatContract, LeavingContract, MakeLate

__all__ = ["MakeLate", "StoreContract", "make_session"]


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
    RetryContract,
    SendContract,
    CallContract,
    PendingContract,
    AttachmentContract,
    AbandonedContract,
    TakeoverContract,
    TakeContract,
    DeliveryContract,
    DeletionContract,
    TrimContract,
    ResumeAfterTrimContract,
    InboxContract,
    PendingRequestContract,
    OnceCallContract,
    RateLimitContract,
    NotificationContract,
    HeartbeatContract,
    FailoverContract,
    LeavingContract,
    RandomWorkContract,
    ProcessContract,
):
    """The whole contract. Subclass it in a test module, add three fixtures, and run pytest.

    `store` returns a store with nothing in it. `options` returns the OPTIONS with which another process makes
    the same store. `make_late` returns a function that takes a worker's name and seconds, and sets the
    worker's last heartbeat back by them.
    """
