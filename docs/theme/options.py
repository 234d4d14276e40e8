"""The options in docs/settings.md, from their declarations. Write them by python docs/theme/options.py."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from mcp_sessions.conf import GROUPS
from mcp_sessions.conf.option import Option, OptionGroup, options_of

PAGE: Final = Path(__file__).resolve().parents[1] / "settings.md"
BEGIN: Final = "<!-- options: written by docs/theme/options.py -->\n"
END: Final = "<!-- end of options -->\n"


def with_options(page: str) -> str:
    """The page with the options as they are declared now, between the two markers."""
    before, _, rest = page.partition(BEGIN)
    sections = "\n".join(map(_section, GROUPS))
    return f"{before}{BEGIN}\n{sections}\n{END}{rest.partition(END)[2]}"


def _section(group: type[OptionGroup]) -> str:
    entries = "\n".join(map(_entry, options_of(group).values()))
    return f"## {group.title}\n\n{inspect.getdoc(group)}\n\n{entries}"


def _entry(option: Option[Any]) -> str:
    facts = " · ".join(_facts(option))
    return f"### `{option.name}`\n\n{facts}\n\n{option.text}\n"


def _facts(option: Option[Any]) -> Iterator[str]:
    yield f"Default: `{_shown(option.default)}`"
    if option.guide:
        yield f"guide: {option.guide}"
    if option.for_process:
        yield "whole process"


def _shown(value: Any) -> str:
    """A literal, with the double quotes that settings are written with."""
    return repr(value).replace("'", '"')


if __name__ == "__main__":
    PAGE.write_text(with_options(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
