"""An option of MCP_SESSIONS: its default, its kind, where it holds, and its text in the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Generic, Self, TypeVar, overload

from django.conf import settings
from django.core.signals import setting_changed

from mcp_sessions.conf.kinds import Kind

T = TypeVar("T")

MISSING: Final = object()


class _Project:
    """settings.MCP_SESSIONS itself, until Django says that it is another.

    A request reads some thirty options, and Django's lazy settings are slow to ask.
    """

    options: Mapping[str, Any] = {}

    @classmethod
    def look(cls) -> Mapping[str, Any]:
        cls.options = getattr(settings, "MCP_SESSIONS", {})
        return cls.options

    @classmethod
    def forget(cls, *, setting: str, **_: object) -> None:
        if setting == "MCP_SESSIONS":
            cls.options = {}


setting_changed.connect(_Project.forget)


class OptionGroup:
    """Options that belong together. A subclass's docstring is their introduction in docs/settings.md.

    With the path of an endpoint, an instance has the values of that endpoint: its entry in SERVERS may
    override any option, except for those of the whole process. Without one, it has the process's values.
    """

    title: str

    def __init__(self, path: str | None = None) -> None:
        self._path = path

    def _chosen(self, name: str) -> Any:
        """The value from the project's settings, read at each access; MISSING if it has none."""
        chosen = _Project.options or _Project.look()
        if self._path is not None and (servers := chosen.get("SERVERS")):
            entry = servers.get(self._path)
            if isinstance(entry, Mapping) and name in entry:
                return entry[name]
        return chosen.get(name, MISSING)


class Option(Generic[T]):
    """Declares an option in an OptionGroup. An instance of the group gives its value, the class the option.

    `text` is Markdown for docs/settings.md. `guide` is the session management guide's value, in parentheses
    where the guide only shows it in an example. An option `for_process` cannot be overridden in SERVERS.
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
