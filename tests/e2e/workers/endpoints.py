"""What a cluster serves: one server object at many paths, each with options of its own.

Starting processes is what costs most in these tests. So whatever may differ between endpoints does
not make a cluster: a test takes its workers `at` the path that it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SERVER: Final = "tests.e2e.servers.sessions:server"
LIMIT: Final = 20
FEW: Final = 3
MAX_PENDING: Final = 5
# No shorter: a process of a busy machine may be held up for seconds, and what it was to write
# meanwhile (that a session was used or held, or is to be warned) must not come too late.
BRIEF_SECONDS: Final = 8
WARNING_SECONDS: Final = 3
IDLE_SECONDS: Final = 8
LIFETIME_SECONDS: Final = 6

REJECT: Final = {"SESSION_REPLACEMENT_POLICY": "reject"}
# Clients are told apart by what a test says their address is: each test has addresses of its own.
BY_ADDRESS: Final = {"TRUSTED_PROXIES": 1}

ENDPOINTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "/django": {"POST_THROUGH_DJANGO": True},
    "/two-streams": {"MAX_CONNECTIONS_PER_SESSION": 2},
    "/few-pending": {"MAX_PENDING": MAX_PENDING},
    "/brief": {"SESSION_TIMEOUT": BRIEF_SECONDS, "SESSION_WARNING_SECONDS": WARNING_SECONDS},
    "/idle": {"IDLE_TIMEOUT": IDLE_SECONDS},
    "/mortal": {"MAX_SESSION_LIFETIME": LIFETIME_SECONDS},
    "/one": {"MAX_SESSIONS_PER_CLIENT": 1, **BY_ADDRESS},
    "/few": {"MAX_SESSIONS_PER_CLIENT": FEW, "TOUCH_SECONDS": 0.1, **BY_ADDRESS},
    # Each of these is for one test: it fills them.
    "/client-rejects": {"MAX_SESSIONS_PER_CLIENT": LIMIT, **REJECT, **BY_ADDRESS},
    "/client-replaces": {"MAX_SESSIONS_PER_CLIENT": LIMIT, **BY_ADDRESS},
    "/all-rejects": {"MAX_SESSIONS": LIMIT, **REJECT, **BY_ADDRESS},
    "/all-replaces": {"MAX_SESSIONS": LIMIT, **BY_ADDRESS},
}

SERVERS: Final = {
    "/edits": "tests.e2e.servers.edits:server",
    "/deeds": "tests.e2e.servers.deeds:server",
    "/deeds-fast": "tests.e2e.servers.deeds:fast",
    "/stateless": "tests.e2e.servers.stateless:server",
    "/stateless-fast": "tests.e2e.servers.stateless:fast",
    **{path: {"SERVER": SERVER, **options} for path, options in ENDPOINTS.items()},
}
