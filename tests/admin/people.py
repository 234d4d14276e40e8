"""Who looks at the dashboard, or would like to."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User


def a_viewer() -> User:
    """May see sessions, and nothing else."""
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_session"))
    return user


def a_stranger() -> User:
    """May log in, and see no sessions."""
    return User.objects.create_user("stranger", is_staff=True)
