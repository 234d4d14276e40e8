"""An option of MCP_SESSIONS: its default, its kind, where it holds, and its text in the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, Self, TypeVar, overload

from django.conf import settings

from mcp_sessions.conf.kinds import Kind

T = TypeVar("T")

MISSING: Final = object()


_read: Final = vars(settings)
"""The settings that Django has read. It drops one that is assigned or deleted, and all when they are
overridden, but keeps the dict. A request reads some thirty options, and an attribute of `settings` is slow.
"""


class OptionGroup:
    """Options that belong together. A subclass's docstring is their introduction on the page of settings.

    With the path of an endpoint, an instance has the values of that endpoint: its entry in SERVERS may
    override any option, except for those of the whole process. Without one, it has the process's values.
    """

    title: str

    def __init__(self, path: str | None = None) -> None:
        self._path = path

    def _chosen(self, name: str) -> Any:
        """The value from the project's settings, read at each access; MISSING if it has none."""
        chosen = _read.get("MCP_SESSIONS") or getattr(settings, "MCP_SESSIONS", {})
        if self._path is not None and (servers := chosen.get("SERVERS")):
            entry = servers.get(self._path)
            if isinstance(entry, Mapping) and name in entry:
                return entry[name]
        return chosen.get(name, MISSING)


class Option(Generic[T]):
    """Declares an option in an OptionGroup. An instance of the group gives its value, the class the option.

    `text` is Markdown for the page of settings. `guide` is the session management guide's value, in
    parentheses where the guide only shows it in an example. An option `for_process` cannot be overridden in
    SERVERS.
    """

    name: str

    def __init__(
        self, default: T, kind: Kind | None, text: str, *, guide: str = "", for_process: bool = False
    ) -> None:
        self.default, self.kind, self.text = default, kind, text
        self.guide, self.for_process = guide, for_process

    def __set_name__(self, owner: type[OptionGroup], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, group: None, owner: type[OptionGroup]) -> Self: ...
    @overload
    def __get__(self, group: OptionGroup, owner: type[OptionGroup]) -> T: ...
    def __get__(self, group: OptionGroup | None, owner: type[OptionGroup]) -> Self | T:
        if group is None:
            return self
        chosen = group._chosen(self.name)
        return self.default if chosen is MISSING else chosen


def options_of(*groups: type[OptionGroup]) -> dict[str, Option[Any]]:
    """The options of the groups by name, in the order of their declaration."""
    return {
        name: option for group in groups for name, option in vars(group).items() if isinstance(option, Option)
    }
