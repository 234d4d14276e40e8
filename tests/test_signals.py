"""What the mount's signal handler does where nobody handled the signal before."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Final

SCRIPT: Final = """
import asyncio, os, signal
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django
django.setup()
from mcp_sessions.routing import _chain_signals
from mcp_sessions.runtime import adopt

async def main():
    _chain_signals(adopt())
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_process_without_a_handler_still_dies_of_the_signal() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], timeout=60, capture_output=True, text=True)
    assert done.returncode == -signal.SIGTERM, done.stderr
