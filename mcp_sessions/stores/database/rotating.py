"""The verb that gives a session another id."""

from __future__ import annotations

from django.db import IntegrityError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from mcp_sessions.exceptions import DuplicateIdentifier
from mcp_sessions.models import Session
from mcp_sessions.records import ROTATED, Inbound, Rotation
from mcp_sessions.stores.database.locking import lock_session
from mcp_sessions.stores.database.sending import store_batch
from mcp_sessions.stores.database.statements import change, now_of, table
from mcp_sessions.stores.database.verbs import verb, writing


class RotatingVerbs:
    alias: str

    @verb
    def rotate(self, key: str, before: str, rotation: Rotation) -> bool:
        try:
            with writing(self.alias) as connection:
                found = lock_session(self.alias, key, "id", "digest")
                if found is None or found[1] != before:
                    return False
                _set_id(connection, found[0], before, rotation)
                store_batch(connection, [Inbound(key, ROTATED)], timezone.now())
                return True
        except IntegrityError as error:
            if not Session.objects.using(self.alias).filter(digest=rotation.digest).exists():
                raise
            raise DuplicateIdentifier("A session with this digest is already there.") from error


def _set_id(connection: BaseDatabaseWrapper, id: int, before: str, rotation: Rotation) -> None:
    values = {
        "digest": rotation.digest,
        "previous_digest": before,
        "previous_until": connection.ops.adapt_datetimefield_value(rotation.until),
        "sealed_id": rotation.sealed_id,
    }
    if rotation.owner is not None:
        values |= {"owner": rotation.owner, "principal": rotation.principal}
    columns = ", ".join(f"{column} = %s" for column in values)
    change(connection, f"UPDATE {table(Session)} SET {columns} WHERE id = %s", [*values.values(), id])


def forget_previous(alias: str) -> None:
    """Forget the previous ids whose grace is over."""
    connection = connections[alias]
    over = Session.objects.using(alias).filter(previous_until__lt=now_of(connection))
    ids = sorted(over.values_list("pk", flat=True))
    if ids:
        with writing(alias):
            over.filter(pk__in=ids).update(previous_digest="", previous_until=None, sealed_id="")
