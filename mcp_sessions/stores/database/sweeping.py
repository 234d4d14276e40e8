"""The verbs that delete what is over: events that were read, streams that were left, old news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import F, Q
from django.utils import timezone

from mcp_sessions.models import Bell, InboxMessage, Stream, StreamEvent
from mcp_sessions.stores.database.locking import chunks, delete_rows, lock_streams
from mcp_sessions.stores.database.ringing import KEPT
from mcp_sessions.stores.database.verbs import verb, writing


class SweepingVerbs:
    alias: str

    @verb
    def shorten(self, streams: Sequence[str], keep: int, before: datetime) -> int:
        deleted = 0
        for chunk in chunks(streams):
            read = StreamEvent.objects.using(self.alias).filter(
                Q(position__lte=F("stream__position") - keep) | Q(created_at__lt=before),
                stream__name__in=chunk,
                position__lte=F("stream__delivered"),
            )
            # The answers in a batch's reply say which of its requests are still to be answered.
            read = read.exclude(stream__kind="post", stream__request_ids__contains=",")
            ids = list(read.values_list("pk", flat=True))
            with writing(self.alias) as connection:
                delete_rows(connection, StreamEvent, "id", ids)
            deleted += len(ids)
        return deleted

    @verb
    def sweep(self, before: datetime, limit: int) -> int:
        left = Stream.objects.using(self.alias).forgettable(before).order_by("idle_since")
        names = list(left.values_list("name", flat=True)[:limit])
        with writing(self.alias) as connection:
            # Under the locks once more: somebody may have come back to one of them.
            locked = [stream.id for stream in lock_streams(connection, names)]
            still = Stream.objects.using(self.alias).forgettable(before).filter(pk__in=locked)
            ids = list(still.values_list("pk", flat=True))
            delete_rows(connection, StreamEvent, "stream_id", ids)
            delete_rows(connection, Stream, "id", ids)
        self._forget_news(before)
        return len(ids)

    def _forget_news(self, before: datetime) -> None:
        with writing(self.alias):
            Bell.objects.using(self.alias).filter(rung_at__lt=timezone.now() - KEPT).delete()
            InboxMessage.objects.using(self.alias).filter(created_at__lt=before).delete()
