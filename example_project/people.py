"""The people of the demo: an admin with a password, and two users with a token each.

What they log in with is drawn once and kept below STATE_DIR. So it is the same when the demo starts again.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final

ADMIN: Final = "demo"
USERS: Final = ("ann", "ben")


def make_people(state: Path) -> None:
    """Make them, or find them."""
    make_admin(kept_secret(password_file(state), length=9))
    for name in USERS:
        make_user(name, kept_secret(token_file(state, name), length=32))


def password_file(state: Path) -> Path:
    return state / "admin-password"


def token_file(state: Path, name: str) -> Path:
    return state / f"{name}-token"


def kept_secret(file: Path, length: int) -> str:
    """The secret in a file, which only its owner can read. Without a file, one is drawn of so many bytes."""
    secret = file.read_text().strip() if file.exists() else ""
    if not secret:
        secret = secrets.token_urlsafe(length)
        file.touch(mode=0o600)
        file.write_text(secret + "\n")
    return secret


def make_admin(password: str) -> None:
    user = find_or_make(ADMIN)
    if not user.check_password(password):
        user.set_password(password)
    user.is_active = user.is_staff = user.is_superuser = True
    user.save()


def make_user(name: str, token: str) -> None:
    """A user who logs in by this token alone."""
    from example_project.helpdesk.models import UserToken
    from example_project.helpdesk.tokens import digest_of

    UserToken.objects.get_or_create(digest=digest_of(token), defaults={"user": find_or_make(name)})


def find_or_make(name: str) -> Any:
    """The user of this name. One that is made has no password."""
    from django.contrib.auth import get_user_model

    users = get_user_model().objects
    return users.filter(username=name).first() or users.create_user(name)
