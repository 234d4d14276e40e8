"""Whoever has subscribed to a ticket hears of it wherever in the project it is saved."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver

from example_project.helpdesk.models import Comment, Ticket
from mcp_sessions import send_resource_updated


@receiver([post_save, post_delete], sender=Ticket)
def ticket_changed(instance: Ticket, **kwargs: Any) -> None:
    _tell_on_commit(instance.uri)


@receiver([post_save, post_delete], sender=Comment)
def comment_changed(instance: Comment, **kwargs: Any) -> None:
    _tell_on_commit(f"ticket://{instance.ticket_id}")


def _tell_on_commit(uri: str) -> None:
    # On commit, so that who hears of the change can read it. Robust, because a ticket that was
    # saved is saved, whether or not somebody could be told.
    transaction.on_commit(partial(send_resource_updated, uri), robust=True)
