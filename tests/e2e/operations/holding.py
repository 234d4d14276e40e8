"""An app of the project under test: the process stands still at one of the signals that it sends.

So a test can kill it at a place that it knows, however fast the machine is.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final

from django.apps import AppConfig

from mcp_sessions.signals import session_expired

AFTER: Final = "E2E_HOLD_AFTER"
"""The environment variable that says how many sessions' expiries are told before."""


class HoldingConfig(AppConfig):
    name = "tests.e2e.operations.holding"

    def ready(self) -> None:
        left = int(os.environ[AFTER])

        def hold(**_: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                threading.Event().wait()

        session_expired.connect(hold, weak=False)
