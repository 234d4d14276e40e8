"""Free ports of this machine, each given to one test only."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

# Below the range from which the kernel takes the local ports of outgoing connections:
# a client of another test cannot sit on the port while its server restarts.
CHOICE: Final = range(20000, 32000)
TRIES: Final = 100

_claimed: Final[set[int]] = set()


def free_port() -> int:
    """A port that nobody uses, and that no test run on this machine is given as long as this one lasts."""
    for port in random.sample(CHOICE, TRIES):
        if _claim(port) and _is_free(port):
            return port
    raise AssertionError(f"No free port in {TRIES} tries.")


def is_open(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError:
        return False
    return True


def _claim(port: int) -> bool:
    """Tests run in several processes: without this another would be given the port before it is bound,
    or while the server that it was given to restarts.
    """
    if port in _claimed:
        return False
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _claimed.add(port)
    return True


@cache
def _claims() -> int:
    """A file in which the lock on a byte is the claim to the port of that number. The kernel gives the
    locks back when the process ends, whichever way; so this stays open until then.
    """
    path = Path(tempfile.gettempdir(), f"mcp_sessions_ports_{os.getuid()}")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
