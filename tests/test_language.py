"""Code and pages speak the words that Django, Celery and Kafka use, and not those of the first drafts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import mcp_sessions

SOURCES: Final = Path(mcp_sessions.__file__).parent
WORDS: Final = {
    # The SDK's codec has a `_ring`.
    r"bells?|(?<!codec\. )rings?|rung": "notification, notify",
    r"orphans?|heirs?|inherit(s|ed)": "failover, take over",
    r"taken for dead": "declared lost",
    r"patience|patiently": "retry, with retry",
    r"asides?": "deferred",
    r"announc(e|es|ed|ing)": "send a signal, publish, notify",
    r"tend|tended|tending|surroundings": "wrapping, call context",
    r"sweeps?|swept|survey|shorten(s|ed)?": "delete unreachable, find, trim",
    r"slim|mirroring": "summary row",
    r"twins?|verbs?": "async variant, method",
}
OF_CODE: Final = {
    **WORDS,
    r"silent": "missed heartbeats",
    r"doors?": "entry point",
    r"news|happenings?": "changes",
    r"told": "send a signal, publish, notify",
}
OF_PAGES: Final = {
    **WORDS,
    r"doors?": "entry point",
    r"floors?|rooms?|houses?": "layer, module, package",
    r"news": "changes, notifications",
}
BOUNDS: Final = re.compile(r"\b(?:MOST|LONGEST|SHORTEST|FEWEST)(?:_[A-Z]+)*\b")
FILES: Final = re.compile(r"\b(?:docs|tests)/[\w/.]+|\b\w+\.md [0-9]")
CODE: Final = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
"""What a page quotes."""


def found(source: str, words: Mapping[str, str] = OF_CODE) -> list[str]:
    """The words that may not be there, each with those that may. Names are split into their words."""
    source = re.sub(r"#[\w-]+", "", source)  # the anchors of links
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", source).replace("_", " ").lower()
    return [
        f"{m[0]}: {better}" for word, better in words.items() for m in re.finditer(rf"\b({word})\b", text)
    ]


def test_words_are_found_in_names_and_sentences() -> None:
    for source in ("class RowBell:", "def _tell_patiently(", "# Its heir ends it.", "was_told = 1"):
        assert found(source), source
    assert found("string, ringing_buffer, controlled") == []


def test_the_app_speaks_the_fields_words() -> None:
    paths = [path for path in sorted(SOURCES.rglob("*")) if path.suffix in {".py", ".lua"}]
    texts = {path.relative_to(SOURCES).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    problems = {name: words for name, text in texts.items() if (words := found(text))}
    assert problems == {}


def test_pages_speak_the_fields_words() -> None:
    root = SOURCES.parent
    names = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md")
    pages = [*(root / name for name in names), *(root / "docs").glob("*.md")]
    texts = {str(page.relative_to(root)): CODE.sub("", page.read_text(encoding="utf-8")) for page in pages}
    assert len(texts) > 20
    problems = {name: words for name, text in texts.items() if (words := found(text, OF_PAGES))}
    assert problems == {}


def test_the_app_names_no_file_that_is_not_installed_with_it() -> None:
    """Whoever reads a hint or a docstring has the package, and the documentation as a site."""
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py")}
    assert {path: found for path, text in texts.items() if (found := FILES.findall(text))} == {}


def test_a_bound_is_called_max_or_min() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py")}
    assert {path: found for path, text in texts.items() if (found := BOUNDS.findall(text))} == {}
