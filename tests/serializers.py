"""A serializer that a project might choose: it writes bytes."""

from __future__ import annotations

import json
import zlib
from typing import Any, ClassVar


class CompressedJSON:
    """The data as compressed JSON; what was written is counted."""

    written: ClassVar[int] = 0

    def dumps(self, data: dict[str, Any]) -> bytes:
        type(self).written += 1
        return zlib.compress(json.dumps(data, allow_nan=False).encode())

    def loads(self, dumped: bytes) -> Any:
        return json.loads(zlib.decompress(dumped))


COMPRESSED = f"{__name__}.{CompressedJSON.__name__}"


class Mute:
    """What it writes is nothing."""

    def dumps(self, data: Any) -> Any:
        return None

    def loads(self, dumped: Any) -> Any:
        return {}


class Unmade:
    """It cannot be made."""

    def __init__(self) -> None:
        raise OSError("its dictionary is not there")
