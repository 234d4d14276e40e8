"""Run a module in this process's place, and die with the one who started it.

A test run that is killed cannot stop the servers it started; on Linux the kernel can.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
APPLICATION_VARIABLE = "E2E_APPLICATION"
"""Where child.py finds what it is to serve."""


def die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    die_with_parent()
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])


if __name__ == "__main__":
    main()
