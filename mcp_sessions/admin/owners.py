"""Whose sessions they are: the owner as operators know it, with a link to the Django user."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from mcp_sessions.principals import user_owner

PREFIX: Final = user_owner("")


def users_of(owners: Iterable[str]) -> Mapping[str, Any]:
    """The Django users among these owners, by owner; one query however many they are."""
    model = get_user_model()
    keys = {key for owner in owners if (key := _key_in(owner, model)) is not None}
    found = model._default_manager.filter(pk__in=keys) if keys else ()
    return {user_owner(user.pk): user for user in found}


def show_owners(request: HttpRequest, site: admin.AdminSite, rows: Sequence[Any]) -> None:
    """Give each of these rows its `shown_owner`; one query however many they are."""
    users = users_of(row.owner for row in rows)
    for row in rows:
        row.shown_owner = shown_owner(request, site, row.owner, users.get(row.owner))


def shown_owner(request: HttpRequest, site: admin.AdminSite, owner: str, user: Any) -> SafeString | str:
    """The user's name, as a link for those who may look at users; else the owner as the store has it."""
    if user is None:
        return _abbreviated(owner)
    if not _may_see(request, site, user):
        return str(user)
    opts = user._meta
    url = reverse(f"{site.name}:{opts.app_label}_{opts.model_name}_change", args=[user.pk])
    return format_html('<a href="{}" title="{}">{}</a>', url, owner, user)


def _abbreviated(owner: str) -> SafeString | str:
    return format_html('<span class="mcp-cut" title="{}">{}</span>', owner, owner) if owner else "-"


def _key_in(owner: str, model: Any) -> Any:
    if not owner.startswith(PREFIX):
        return None
    try:
        return model._meta.pk.to_python(owner.removeprefix(PREFIX))
    except ValidationError:
        return None


def _may_see(request: HttpRequest, site: admin.AdminSite, user: Any) -> bool:
    if not site.is_registered(type(user)):
        return False
    return site.get_model_admin(type(user)).has_view_or_change_permission(request)
