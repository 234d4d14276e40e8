"""A batch of items, as the script takes it, and where its items went, as the script answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mcp_sessions.conf import AppSettings, app_settings
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, BatchItem, Inbound, Placed, Send, Taken
from mcp_sessions.stores.redis.values import Argument, text


def batch_arguments(batch: Sequence[BatchItem]) -> list[Argument]:
    return [*_limits(batch), *(part for item in batch for part in _item(item))]


def _limits(batch: Sequence[BatchItem]) -> list[Argument]:
    """How much may wait at every endpoint: only the store knows whose a session is."""
    if not any(isinstance(item, Send) for item in batch):
        return [None, None, 0]
    servers = list(app_settings.SERVERS)
    own = [part for server in servers for part in (server, *_of(AppSettings(server)))]
    return [*_of(app_settings), len(servers), *own]


def _of(options: AppSettings) -> tuple[int | None, int | None]:
    return options.MAX_PENDING, options.MAX_PENDING_BYTES


def _item(item: BatchItem) -> Iterator[Argument]:
    if isinstance(item, Append):
        yield "append"
        yield from _append(item)
        return
    if isinstance(item, Inbound):
        yield from ("inbound", item.session, item.data, item.request, item.answers)
        return
    yield from ("send", item.session, new_stream_name(), item.everywhere, item.only_now, item.name, item.data)
    yield len(item.readers)
    for stream, worker in item.readers:
        yield from (stream, worker)
    yield item.call is not None
    if item.call is not None:
        yield from _append(item.call)


def _append(append: Append) -> Iterator[Argument]:
    yield from (append.stream, append.writer, append.reader, append.ends, len(append.events))
    for name, data in append.events:
        yield name
        yield data


def places(found: Sequence[Any]) -> Placed:
    each = zip(found[::3], found[1::3], found[2::3], strict=True)
    places = (((text(name), int(first)), is_taken) for name, first, is_taken in each)
    return tuple(Taken(place) if is_taken else place for place, is_taken in places)
