from __future__ import annotations

from typing import Any

from django.contrib import admin

from example_project.helpdesk.models import Comment, Ticket, UserToken


class CommentInline(admin.TabularInline):
    model = Comment
    extra = 1
    readonly_fields = ("created_at",)


@admin.register(Ticket)
class TicketAdmin(admin.ModelAdmin):
    list_display = ("id", "title", "status", "priority", "customer_name", "assignee", "updated_at")
    list_display_links = ("id", "title")
    list_filter = ("status", "priority", "assignee")
    search_fields = ("title", "description", "customer_name", "customer_email")
    readonly_fields = ("created_at", "updated_at")
    date_hierarchy = "created_at"
    inlines = (CommentInline,)


@admin.register(UserToken)
class UserTokenAdmin(admin.ModelAdmin):
    """Delete a token here, and whoever has it calls the helpdesk no more."""

    list_display = ("__str__", "user", "created_at")
    list_filter = ("user",)

    def has_add_permission(self, request: Any) -> bool:
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        return False
