"""Django users of tests, and the cookies of their browsers."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import Client

from tests.process import in_thread

PASSWORD = "correct horse battery staple"


async def new_user(name: str, **more: Any) -> Any:
    return await in_thread(lambda: get_user_model().objects.create_user(name, password=PASSWORD, **more))


async def log_in(user: Any) -> str:
    """The Cookie header of a browser in which the user has logged in."""
    return await in_thread(lambda: _log_in(user))


def _log_in(user: Any) -> str:
    browser = Client()
    browser.force_login(user)
    return f"{settings.SESSION_COOKIE_NAME}={browser.cookies[settings.SESSION_COOKIE_NAME].value}"
