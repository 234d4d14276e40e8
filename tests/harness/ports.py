"""Free ports of this machine."""

from __future__ import annotations

import random
import socket
from typing import Final

# Below the range from which the kernel takes the local ports of outgoing connections:
# a client of another test cannot sit on the port while its server restarts.
CHOICE: Final = range(20000, 32000)
TRIES: Final = 100


def free_port() -> int:
    for port in random.sample(CHOICE, TRIES):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"No free port in {TRIES} tries.")


def is_open(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
