from django.contrib import admin

from example_project.helpdesk.models import Comment, Ticket


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
