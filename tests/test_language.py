"""Code speaks the words that Django, Celery and Kafka use, and not those of the project's first drafts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import mcp_sessions

HOUSE: Final = Path(mcp_sessions.__file__).parent
PLACES: Final = (
    "background.py",
    "commits.py",
    "completion.py",
    "deferred.py",
    "delivery",
    "lifecycle",
    "receivers.py",
    "runtime.py",
    "signal_queue.py",
    "stores",
)
"""Modules that were rewritten in these words."""
KEPT: Final = ("Bell", "rung_at")
"""The names of a table and of a column of it."""
WORDS: Final = {
    r"bells?|ring|rung": "notification, notify",
    r"orphans?|heirs?|inherit(s|ed)": "failover, take over",
    r"taken for dead|silent": "declared lost, missed heartbeats",
    r"patience|patiently": "retry, with retry",
    r"asides?": "deferred",
    r"announc(e|es|ed|ing)|told": "send a signal, publish, notify",
    r"tending|surroundings": "wrapping, call context",
    r"slim|mirroring": "summary row",
    r"twins?|verbs?": "async variant, method",
}


def found(source: str) -> list[str]:
    """The words that may not be there, each with those that may. Names are split into their words."""
    for name in KEPT:
        source = re.sub(rf"\b{name}(?=\b|__)", "", source)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", source).replace("_", " ").lower()
    return [
        f"{m[0]}: {better}" for word, better in WORDS.items() for m in re.finditer(rf"\b({word})\b", text)
    ]


def test_words_are_found_in_names_and_sentences() -> None:
    for source in ("class RowBell:", "def _tell_patiently(", "# Its heir ends it.", "was_told = 1"):
        assert found(source), source
    assert found("string, ringing_buffer, controlled") == []


def test_modules_that_were_rewritten_speak_the_fields_words() -> None:
    paths = [path for place in PLACES for path in [HOUSE / place, *sorted((HOUSE / place).rglob("*"))]]
    problems = {
        str(path.relative_to(HOUSE)): words
        for path in paths
        if path.suffix in {".py", ".lua"} and (words := found(path.read_text(encoding="utf-8")))
    }
    assert problems == {}
