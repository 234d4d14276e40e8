"""An app of the project under test: receivers of every signal, in every process of it.

Each signal becomes one line of one file: who sends what, and that nobody else does, is read there.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from django.apps import AppConfig
from django.dispatch import Signal

from mcp_sessions import signals
from mcp_sessions.records import SessionRecord

FILE: Final = "E2E_SIGNALS"
"""The environment variable by which a process is told the file."""


@dataclass(frozen=True)
class Heard:
    """A signal as it was sent: by which process, for which session, and for which stream, if for one."""

    name: str
    reason: str
    key: str
    pid: int
    stream: str = ""


class HearingConfig(AppConfig):
    name = "tests.e2e.hearing"

    def ready(self) -> None:
        for name, signal in vars(signals).items():
            if isinstance(signal, Signal):
                signal.connect(_writing(name), weak=False)


def _writing(name: str) -> Any:
    def write(session: SessionRecord, reason: str, **more: Any) -> None:
        stream = more["stream"].name if "stream" in more else ""
        line = json.dumps(asdict(Heard(name, reason, session.key if session else "", os.getpid(), stream)))
        # One write to a file that is open for appending: lines of several processes do not mix.
        with Path(os.environ[FILE]).open("a") as file:
            file.write(f"{line}\n")

    return write


def heard(file: Path, key: str) -> list[Heard]:
    """What was sent about a session, in the order in which it was written."""
    text = file.read_text() if file.exists() else ""
    # What has no end yet is being written: a reader may come in the midst of a write.
    lines = [line for line in text.split("\n")[:-1] if key in line]
    return [found for found in (Heard(**json.loads(line)) for line in lines) if found.key == key]
