"""What a tool, resource or prompt requires of its caller: @requires, and the setting REQUIRES."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication.threads import in_database

T = TypeVar("T")

MARK: Final = "__mcp_sessions_requires__"
INSIDE: Final = ("fn", "parent_tool", "__func__", "func", "__wrapped__", "raw_function")
"""Where components, and wrappers of functions, keep what they were made of."""

_used: set[bool] = set()


@dataclass(frozen=True, slots=True)
class Requirement:
    """Scopes that the caller's credential must permit, and permissions that the Django user must have."""

    scopes: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()

    def __or__(self, other: Requirement) -> Requirement:
        return Requirement(self.scopes | other.scopes, self.permissions | other.permissions)


NOTHING: Final = Requirement()


def requires(*, scopes: Iterable[str] = (), permissions: Iterable[str] = ()) -> Callable[[T], T]:
    """Let only callers with these scopes and Django permissions ("app.codename") use a component.

    It goes below or above the decorator that makes the function a tool, resource or prompt. Several add up.
    A caller who lacks a permission finds the component neither in lists nor by its name. One who lacks a
    scope does not find it in lists; a call is answered 403 with all scopes that it needs, or 401 if it is
    anonymous. A login to Django has no scopes, and so lacks none.
    """
    if isinstance(scopes, str) or isinstance(permissions, str):
        raise TypeError('requires() takes lists: scopes=["read"], permissions=["shop.view_order"].')
    wanted = Requirement(frozenset(scopes), frozenset(permissions))

    def mark(component: T) -> T:
        function: Any = getattr(component, "fn", component)
        function = getattr(function, "__func__", function)
        setattr(function, MARK, getattr(function, MARK, NOTHING) | wanted)
        _used.add(True)
        return component

    return mark


def is_used() -> bool:
    """Whether anything of this process is marked by @requires."""
    return bool(_used)


def required_by(component: Any) -> Requirement:
    """What @requires has marked a component's function with, in whatever a library has wrapped it."""
    found = NOTHING
    for each in layers(component):
        found |= getattr(each, "__dict__", {}).get(MARK, NOTHING)
    return found


def required_in(table: Mapping[str, Any], kind: str, *names: str) -> Requirement:
    """What REQUIRES says of the components of a kind with these names, or URIs."""
    found = NOTHING
    for pattern, wanted in table.get(kind, {}).items():
        if any(fnmatchcase(name, pattern) for name in names):
            found |= Requirement(
                frozenset(wanted.get("scopes", ())), frozenset(wanted.get("permissions", ()))
            )
    return found


async def missing_scopes(principal: Principal, requirement: Requirement) -> frozenset[str] | None:
    """The scopes that the caller lacks; None if they lack a permission, and so are not to know of it."""
    if requirement.permissions and not await _has_permissions(principal, requirement.permissions):
        return None
    return requirement.scopes if principal.is_anonymous else principal.lacks(requirement.scopes)


async def _has_permissions(principal: Principal, permissions: Iterable[str]) -> bool:
    from django.contrib.auth.models import AnonymousUser  # once Django's apps are ready

    user = AnonymousUser() if principal.user is None else principal.user
    return bool(await in_database(user.has_perms, sorted(permissions)))


def layers(component: Any) -> Iterator[Any]:
    """A component, and whatever it was made of: where decorators leave their marks."""
    waiting, seen = [component], set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting.extend(getattr(each, name, None) for name in INSIDE)
