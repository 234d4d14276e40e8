"""Where StatsD would be."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from typing import Final

LINE: Final = re.compile(r"([\w.]+):([\d.]+)\|(\w+)(?:\|#(.*))?")


@dataclass(frozen=True)
class Told:
    """One metric as it came: who sent it (a port), its name, value and kind (c, g or ms), and its tags."""

    sender: int
    name: str
    value: float
    kind: str
    tags: frozenset[str]


class Datagrams:
    """A UDP socket, and everything that was sent to it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self._told: list[Told] = []

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def told(self, *tags: str) -> list[Told]:
        """Those with these tags, in the order in which they came."""
        self._read()
        return [each for each in self._told if each.tags >= set(tags)]

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        while True:
            try:
                data, (_, sender) = self._socket.recvfrom(65536)
            except BlockingIOError:
                return
            self._told += [_parsed(sender, line) for line in data.decode().splitlines()]


def _parsed(sender: int, line: str) -> Told:
    match = LINE.fullmatch(line)
    assert match is not None, line
    name, value, kind, tags = match.groups("")
    return Told(sender, name, float(value), kind, frozenset(filter(None, tags.split(","))))
