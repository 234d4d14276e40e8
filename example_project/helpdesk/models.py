from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone


class Ticket(models.Model):
    """What a customer asked for, until it is done."""

    class Status(models.TextChoices):
        OPEN = "open"
        PENDING = "pending"
        CLOSED = "closed"

    class Priority(models.TextChoices):
        LOW = "low"
        NORMAL = "normal"
        HIGH = "high"
        URGENT = "urgent"

    title = models.CharField(max_length=200)
    description = models.TextField()
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN, db_index=True)
    priority = models.CharField(max_length=10, choices=Priority, default=Priority.NORMAL, db_index=True)
    customer_name = models.CharField(max_length=100, blank=True)
    customer_email = models.EmailField()
    assignee = models.CharField(max_length=100, blank=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    updated_at = models.DateTimeField(default=timezone.now)
    # Where an imported ticket came from, so that importing again adds nothing twice.
    import_key = models.CharField(max_length=40, unique=True, null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-created_at", "-pk")

    def __str__(self) -> str:
        return f"#{self.pk} {self.title}"

    def save(self, *, update_fields: Any = None, **options: Any) -> None:
        self.updated_at = timezone.now()
        if update_fields is not None:
            update_fields = {*update_fields, "updated_at"}
        super().save(update_fields=update_fields, **options)

    @property
    def uri(self) -> str:
        """The name under which MCP clients read it and subscribe to it."""
        return f"ticket://{self.pk}"


class Comment(models.Model):
    """What was said about a ticket, by the customer or by whoever works on it."""

    ticket = models.ForeignKey(Ticket, on_delete=models.CASCADE, related_name="comments")
    author = models.CharField(max_length=100)
    text = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("created_at", "pk")

    def __str__(self) -> str:
        return f"{self.author} on #{self.ticket_id}"


class UserToken(models.Model):
    """A token by which a user's MCP client shows whose it is. The database has the digest alone."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="helpdesk_tokens"
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"Token of {self.user}"
