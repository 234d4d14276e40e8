"""An owner's sessions end, all of them, and nobody else's."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from mcp_sessions import aend_sessions_of, end_sessions_of
from mcp_sessions.lifecycle import open_session, owners
from mcp_sessions.models import Session
from mcp_sessions.principals import Principal, user_owner
from mcp_sessions.runtime import adopt, run_sync
from tests.process import in_thread

pytestmark = pytest.mark.django_db(transaction=True)

OAUTH = Principal("https://login.example", "ann", "an-app").owner


async def ended() -> dict[str, str]:
    return await in_thread(lambda: dict(Session.objects.values_list("key", "end_reason")))


@pytest.mark.usefixtures("process")
async def test_at_every_endpoint_and_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    adopt()
    monkeypatch.setattr(owners, "PAGE", 2)
    mine = [(await open_session(path, OAUTH, {}))[1].key for path in ("/mcp", "/other", "/mcp", "/mcp")]
    others = [(await open_session("/mcp", owner, {}))[1].key for owner in ("user:1", "")]
    assert await aend_sessions_of(OAUTH) == 4
    assert await ended() == dict.fromkeys(mine, "operator") | dict.fromkeys(others, "")
    assert await aend_sessions_of(OAUTH) == 0


@pytest.mark.usefixtures("process")
def test_a_users_from_synchronous_code() -> None:
    user = get_user_model().objects.create_user("ann")
    run_sync(open_session("/mcp", user_owner(user.pk), {}))
    assert end_sessions_of(user, "left the company") == 1
    assert Session.objects.get().end_reason == "left the company"


@pytest.mark.parametrize("given", [("",), (OAUTH, ""), (OAUTH, "x" * 33), (OAUTH, "two\nlines")])
@pytest.mark.usefixtures("process")
async def test_what_cannot_be(given: Any) -> None:
    adopt()
    with pytest.raises(ValueError):
        await aend_sessions_of(*given)


# -- the command ---------------------------------------------------------------------------------


def ended_by(*arguments: str) -> str:
    told = io.StringIO()
    call_command("end_mcp_session", *arguments, stdout=told)
    return told.getvalue().strip()


@pytest.mark.usefixtures("process")
def test_the_command_ends_an_owners_sessions() -> None:
    user = get_user_model().objects.create_user("ann")
    for owner in (user_owner(user.pk), user_owner(user.pk), OAUTH):
        run_sync(open_session("/mcp", owner, {}))
    assert ended_by("--user", "ann", "--reason", "left") == "Ended 2 sessions."
    assert json.loads(ended_by("--owner", OAUTH, "--json")) == {"ended": 1, "owner": OAUTH}
    assert sorted(Session.objects.values_list("end_reason", flat=True)) == ["left", "left", "operator"]


@pytest.mark.usefixtures("process")
def test_an_owner_that_is_a_users_name_is_told_what_owners_look_like() -> None:
    user = get_user_model().objects.create_user("ben")
    with pytest.raises(CommandError, match=r"no live session\. Owners look like user:3, .* use --user NAME"):
        ended_by("--owner", "ben")
    assert ended_by("--user", user.get_username()) == "Ended 0 sessions."


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("a-key", "--owner", "user:1"), 2),
        (("--user", "nobody"), 1),
        (("--owner", OAUTH, "--reason", ""), 2),
        (("--owner", "ben"), 1),
    ],
)
@pytest.mark.usefixtures("process")
def test_what_the_command_does_not_take(arguments: tuple[str, ...], code: int) -> None:
    with pytest.raises(CommandError) as raised:
        ended_by(*arguments)
    assert raised.value.returncode == code
