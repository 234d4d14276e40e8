"""The session of a request, for Django's views: a dict as Django's own session is."""

from __future__ import annotations

import copy
from collections.abc import Iterator, MutableMapping
from typing import Any

from mcp_sessions.principals import Principal
from mcp_sessions.records import SessionRecord
from mcp_sessions.state.editing import Edit
from mcp_sessions.state.sessions import SessionState


class RequestSession(SessionState, MutableMapping[str, Any]):
    """A session as a view has it. What the view changes in it is stored after the view, by `save`.

    As with Django's own sessions, setting or deleting a name marks it as `modified`; after a change
    inside a value say `request.mcp_session.modified = True`.
    """

    def __init__(self, session: SessionRecord, principal: Principal | None = None) -> None:
        super().__init__(session, principal)
        self.modified = False
        self._assigned: frozenset[str] = frozenset()
        self._begin_with(session.data)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._values[name] = value
        self._assign(name)

    def __delitem__(self, name: str) -> None:
        del self._values[name]
        self._assign(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __bool__(self) -> bool:
        """A session is there, also while nothing is in it."""
        return True

    def save(self) -> None:
        """Store what was changed, and only that: what a tool changed meanwhile under other names stays."""
        with Edit(self.key, self._has_written, "Await asave().") as data:
            self._apply(self._changed(), data)
        self._is_saved()

    async def asave(self) -> None:
        async with self.edit() as data:
            self._apply(self._changed(), data)
        self._is_saved()

    def _assign(self, name: str) -> None:
        self._assigned |= {name}
        self.modified = True

    def _is_saved(self) -> None:
        self._assigned, self.modified = frozenset(), False

    def _begin_with(self, data: Any) -> None:
        self._values: dict[str, Any] = copy.deepcopy(dict(data))
        self._before: dict[str, Any] = copy.deepcopy(dict(data))

    def _changed(self) -> frozenset[str]:
        """The names that were set, deleted, or changed in depth."""
        both = self._values.keys() & self._before.keys()
        return self._assigned | {name for name in both if not is_same(self._values[name], self._before[name])}

    def _apply(self, names: frozenset[str], data: dict[str, Any]) -> None:
        for name in names:
            if name in self._values:
                data[name] = self._values[name]
            else:
                data.pop(name, None)

    def _has_written(self, data: dict[str, Any]) -> None:
        """What an edit() left, with what was changed here and is not saved yet."""
        super()._has_written(data)
        changed, merged = self._changed(), copy.deepcopy(data)
        self._apply(changed, merged)
        self._begin_with(data)
        self._assigned, self._values = changed, merged


def is_same(one: Any, other: Any) -> bool:
    """Whether these are the same JSON; 1, 1.0 and True are not, though they are equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)
