"""What will happen in a soak, all of it: `drawing` makes one from a seed before anything runs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

Tool = Literal["quick", "count", "flood", "quiet", "ask", "sample", "forever", "announce", "tell"]
Dialect = Literal["specification", "guide", "sse"]
Ending = Literal["leave", "expire", "delete", "delete while a call runs"]
What = Literal["kill", "restart", "pause", "freeze", "outage"]

Route = tuple[int, ...]
"""Workers, in the order in which they are gone to."""


@dataclass(frozen=True, slots=True)
class Call:
    tool: Tool
    count: int
    """Numbered events on its way, or numbered messages."""
    delay: float
    route: Route
    """Where it is sent, and where its client comes back when it is cut off."""
    replies: Route
    """Where its client sends answers to questions, and the cancellation."""
    cuts: tuple[int, ...]
    """How many events are read on each connection in turn before it is cut."""
    rests: tuple[float, ...]
    """Seconds before its client comes back, each time it was cut off."""
    stall: float
    """Seconds for which its client stops reading in the middle of the first connection."""
    is_replayed: bool
    """Whether its stream is read once more, from its beginning, when it is over."""
    takes_json_only: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls that are sent as one batch; its way is the first one's."""

    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """Numbered messages to the session from another process."""

    count: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The connections of GET streams are cut, whatever is on its way."""

    streams: tuple[int, ...]


Step = Call | Batch | Message | Cut


@dataclass(frozen=True, slots=True)
class Stream:
    """A GET stream that is always resumed."""

    after: float
    """Seconds before it is opened; what is sent to the session meanwhile waits."""
    route: Route
    cuts: tuple[int, ...]
    rests: tuple[float, ...]
    """Seconds before it comes back, each time it was cut off."""


@dataclass(frozen=True, slots=True)
class Life:
    """One session of a client, from its opening to its end."""

    dialect: Dialect
    version: str
    route: Route
    streams: tuple[Stream, ...]
    steps: tuple[tuple[float, Step], ...]
    """Each with the seconds that pass before it."""
    ending: Ending
    last: Call
    """The call that runs when the session is deleted."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What befalls workers."""

    after: float
    what: What
    victims: tuple[int, ...]
    """Workers; of an outage, the services from which all workers are cut off."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Schedule:
    clients: tuple[tuple[Life, ...], ...]
    troubles: tuple[Trouble, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]
