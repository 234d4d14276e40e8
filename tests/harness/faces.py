"""What each client looks like to a test, and what all of them answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

ROOTS: Final = ("file:///tickets", "file:///reports")
REPLY: Final = "The till does not print; a new cable is on its way."
CONFIRM: Final[Mapping[str, Any]] = {"confirm": True}


@dataclass
class Heard:
    """What came from the server without being asked for, in order."""

    progress: list[float] = field(default_factory=list)
    elicited: list[str] = field(default_factory=list)
    sampled: list[str] = field(default_factory=list)
    logs: list[Any] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """The result of a tool."""

    text: str
    structured: Mapping[str, Any] | None
    is_error: bool

    @classmethod
    def of(cls, content: Sequence[Any], structured: Any, is_error: bool) -> Outcome:
        return cls("".join(getattr(block, "text", "") for block in content), structured, is_error)


class AnyClient(Protocol):
    heard: Heard
    session_id: str | None
    version: str

    async def tools(self) -> list[str]: ...

    async def call(self, name: str, arguments: Mapping[str, Any] | None = None) -> Outcome: ...

    async def subscribe(self, uri: str) -> None: ...
