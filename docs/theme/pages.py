"""A hook of MkDocs: what stands beside docs/ (README, CHANGELOG and the like) is part of the site, too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "LICENSE": "licence.md",
    "tests/README.md": "tests.md",
}
"""Where they are, and what they are called in the site."""
LINK: Final = re.compile(r"(\]\()(?!https?:|#)([^)#]+)")
FILE_NAME: Final = re.compile(r"\[(\w+\.md)\](?=\(\1)")


def on_files(files: Files, config: Any, **_: Any) -> Files:
    for path, name in PAGES.items():
        files.append(File.generated(config, name, content=_as_page(path)))
    return files


def _as_page(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path == "LICENSE":
        return f"# Licence\n\n```\n{text}```\n"
    return LINK.sub(lambda link: link[1] + _in_site(link[2]), text)


def _in_site(target: str) -> str:
    """A link of one of these pages, as it leads on in the site."""
    return PAGES.get(target) or target.removeprefix("docs/")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point links at the pages beside docs/, and show a page's title in place of its file's name."""
    markdown = FILE_NAME.sub(_titled, markdown)
    for path, name in PAGES.items():
        markdown = markdown.replace(f"](../{path}", f"]({name}")
    return markdown


def _titled(link: re.Match[str]) -> str:
    heading = (ROOT / "docs" / link[1]).read_text(encoding="utf-8").partition("\n")[0]
    return f"[{heading.removeprefix('# ')}]"
