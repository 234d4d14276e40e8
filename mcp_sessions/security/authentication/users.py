"""Which Django user a token is for: by a field of the user, or by a function of the project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, MultipleObjectsReturned, ObjectDoesNotExist
from django.utils.module_loading import import_string

from mcp_sessions.exceptions import ConfigurationError, InvalidCredential
from mcp_sessions.security.authentication.threads import in_database

Claims = Mapping[str, Any]


class UserLookup:
    """Finds the user of a token's claims. Raises InvalidCredential if there is none, or an inactive one.

    `user` is the name of a field of the user model, which has the value of `claim`; or the dotted path of a
    function that gets the claims and returns a user or None. A synchronous one runs in a thread.
    """

    def __init__(self, user: str | Callable[[Claims], Any], claim: str) -> None:
        self._claim = claim
        self._function: Any = import_string(user) if isinstance(user, str) and "." in user else user
        if isinstance(self._function, str):
            self._field = _unique_field(self._function)
            self._function = self._by_field

    async def __call__(self, claims: Claims) -> Any:
        if iscoroutinefunction(self._function):
            user = await self._function(claims)
        else:
            user = await in_database(self._function, claims)
        return active(user)

    def _by_field(self, claims: Claims) -> Any:
        value = claims.get(self._claim)
        is_unproven = self._claim == "email" and claims.get("email_verified") is False
        if not isinstance(value, str | int) or not value or is_unproven:
            return None
        try:
            return get_user_model()._default_manager.get(**{self._field: value})
        except (ObjectDoesNotExist, MultipleObjectsReturned, ValueError):
            return None


def active(user: Any) -> Any:
    """The user. Raises InvalidCredential if there is none, or the user was deactivated."""
    if user is None or not user.is_active:
        raise InvalidCredential("The token's user is unknown here.")
    return user


def _unique_field(name: str) -> str:
    try:
        get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        raise ConfigurationError(f"The user model has no field {name!r}.") from None
    return name
