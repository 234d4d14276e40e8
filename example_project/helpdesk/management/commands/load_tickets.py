from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import transaction
from django.utils import timezone

from example_project.helpdesk.models import Comment, Ticket
from example_project.helpdesk.tickets import Case, cases


class Command(BaseCommand):
    help = "Loads the tickets of the example. Those that are there already are left alone."

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            known = set(Ticket.objects.exclude(import_key=None).values_list("import_key", flat=True))
            missing = [case for case in cases(timezone.now()) if case.ticket.import_key not in known]
            load(missing)
        if missing:
            self.stdout.write(f"Loaded {len(missing)} tickets.")
        elif options["verbosity"] > 1:
            self.stdout.write("All tickets are there already.")


def load(missing: list[Case]) -> None:
    # In bulk: nobody has subscribed to a ticket that does not exist yet, so no signals are needed.
    Ticket.objects.bulk_create([case.ticket for case in missing])
    comments = [comment for case in missing for comment in case.comments]
    for case in missing:
        for comment in case.comments:
            comment.ticket = case.ticket
    Comment.objects.bulk_create(comments)
