"""Code and pages speak the words that Django, Celery and Kafka use, and not those of the first drafts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import mcp_sessions

SOURCES: Final = Path(mcp_sessions.__file__).parent
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
    r"taken for dead": "declared lost",
    r"patience|patiently": "retry, with retry",
    r"asides?": "deferred",
    r"announc(e|es|ed|ing)": "send a signal, publish, notify",
    r"tending|surroundings": "wrapping, call context",
    r"slim|mirroring": "summary row",
    r"twins?|verbs?": "async variant, method",
}
OF_CODE: Final = {
    **WORDS,
    r"silent": "missed heartbeats",
    r"told": "send a signal, publish, notify",
}
OF_PAGES: Final = {
    **WORDS,
    r"doors?": "entry point",
    r"floors?|rooms?|houses?": "layer, module, package",
    r"news": "changes, notifications",
}
CODE: Final = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
"""What a page quotes."""


def found(source: str, words: Mapping[str, str] = OF_CODE) -> list[str]:
    """The words that may not be there, each with those that may. Names are split into their words."""
    for name in KEPT:
        source = re.sub(rf"\b{name}(?=\b|__)", "", source)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", source).replace("_", " ").lower()
    return [
        f"{m[0]}: {better}" for word, better in words.items() for m in re.finditer(rf"\b({word})\b", text)
    ]


def test_words_are_found_in_names_and_sentences() -> None:
    for source in ("class RowBell:", "def _tell_patiently(", "# Its heir ends it.", "was_told = 1"):
        assert found(source), source
    assert found("string, ringing_buffer, controlled") == []


def test_modules_that_were_rewritten_speak_the_fields_words() -> None:
    paths = [path for place in PLACES for path in [SOURCES / place, *sorted((SOURCES / place).rglob("*"))]]
    problems = {
        str(path.relative_to(SOURCES)): words
        for path in paths
        if path.suffix in {".py", ".lua"} and (words := found(path.read_text(encoding="utf-8")))
    }
    assert problems == {}


def test_pages_speak_the_fields_words() -> None:
    root = SOURCES.parent
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md")
    pages = [*(root / name for name in names), *(root / "docs").glob("*.md")]
    texts = {str(page.relative_to(root)): CODE.sub("", page.read_text(encoding="utf-8")) for page in pages}
    assert len(texts) > 20
    problems = {name: words for name, text in texts.items() if (words := found(text, OF_PAGES))}
    assert problems == {}
