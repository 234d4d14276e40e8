"""The bells: one row for each transaction that other processes may have to hear of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Max

from mcp_sessions.identifiers import new_token
from mcp_sessions.models import Bell
from mcp_sessions.stores.database.statements import now_of, table
from mcp_sessions.stores.database.verbs import verb, writing

KEPT: Final = timedelta(minutes=1)
"""How long a bell can be heard; who was away longer looks at everything that is his anyway."""


def ring(
    connection: BaseDatabaseWrapper, names: Iterable[str], token: str = "", now: datetime | None = None
) -> None:
    """The last statement of its transaction: what it names is visible with it, and soon after."""
    at = connection.ops.adapt_datetimefield_value(now or now_of(connection))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table(Bell)} (names, token, rung_at) VALUES (%s, %s, %s)",
            [" ".join(names), token or new_token(), at],
        )


class ChangeVerbs:
    alias: str

    @verb
    def notify(self, names: Sequence[str]) -> None:
        with writing(self.alias) as connection:
            ring(connection, names)

    @verb
    def changes(self, after: int) -> Sequence[tuple[int, Sequence[str]]]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(f"SELECT id, names FROM {table(Bell)} WHERE id > %s ORDER BY id", [after])
            return [(number, names.split(" ")) for number, names in cursor.fetchall()]

    @verb
    def last_change(self, before: datetime) -> int:
        older = Bell.objects.using(self.alias).filter(rung_at__lt=before).aggregate(last=Max("pk"))
        return older["last"] or 0
