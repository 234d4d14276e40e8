"""What operators do to sessions: they are asked first, it takes effect, and the history keeps it."""

from __future__ import annotations

import html
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from django.utils.functional import Promise

from mcp_sessions.admin import operating
from mcp_sessions.exceptions import StoreUnavailable
from mcp_sessions.models import Session, Stream, StreamEvent
from mcp_sessions.records import EndReason
from mcp_sessions.stores import get_rows, get_store
from mcp_sessions.stores.database import DatabaseSessionStore
from mcp_sessions.testing.store_contract.builders import put_read
from tests.admin.conftest import EVERYTHING, LIST, METADATA, page_of, store, text_of, told
from tests.records import new_session

pytestmark = pytest.mark.django_db(transaction=True)

MEMORY = {"BACKEND": "mcp_sessions.stores.memory.InMemorySessionStore"}
GUIDE = {**METADATA, "dialect": "guide"}
NAMES = ("end", "extend", "rotate", "send")
GIVEN = {"end": {}, "extend": {"seconds": 7200}, "rotate": {}, "send": {"event": "note", "value": '{"a": 1}'}}


@pytest.fixture
def live() -> Session:
    return store(metadata=GUIDE)


def ended() -> list[str]:
    return list(Session.objects.exclude(ended_at=None).values_list("key", flat=True))


def history() -> list[tuple[str, str, str]]:
    entries = LogEntry.objects.order_by("pk")
    return [(entry.user.username, entry.object_repr, entry.get_change_message()) for entry in entries]


def do(client: Client, session: Session, name: str, **changes: Any) -> Any:
    return client.post(page_of(session, name), {"post": "yes", **GIVEN[name], **changes}, follow=True)


def act(client: Client, name: str, *sessions: Session, query: str = "", **more: Any) -> Any:
    chosen = {"action": f"{name}_sessions", "_selected_action": [session.pk for session in sessions], **more}
    return client.post(f"{LIST}{query}", chosen, follow=True)


def test_a_session_is_ended(operator: Client, live: Session) -> None:
    response = do(operator, live, "end")
    assert response.redirect_chain == [(page_of(live), 302)]
    assert told(response) == ["1 session was ended."]
    live.refresh_from_db()
    assert live.end_reason == EndReason.OPERATOR
    assert history() == [("operator", live.key, "Ended.")]
    assert "Ended." in text_of(operator, page_of(live, "history"))


def test_a_session_is_ended_for_a_reason(operator: Client, live: Session) -> None:
    other = store(metadata=GUIDE)
    do(operator, live, "end", reason="abuse <1>")
    act(operator, "end", other, post="yes", reason="abuse <1>")
    for session in (live, other):
        session.refresh_from_db()
        assert session.end_reason == "abuse <1>"
    assert [said for *_, said in history()] == ["Ended: abuse <1>."] * 2


@pytest.mark.parametrize("reason", ["x" * 33, "a\x07b", "a\u2028b"])
def test_what_is_no_reason_ends_nothing(operator: Client, live: Session, reason: str) -> None:
    assert "errorlist" in do(operator, live, "end", reason=reason).content.decode()
    assert ended() == []


def test_a_session_is_extended(operator: Client, live: Session) -> None:
    response = do(operator, live, "extend")
    assert told(response) == ["1 session was extended."]
    before, _ = live.expires_at, live.refresh_from_db()
    assert live.expires_at > before
    assert abs(live.expires_at - timezone.now() - timedelta(hours=2)) < timedelta(minutes=1)
    assert history() == [("operator", live.key, "Extended by 7200 seconds from then.")]


def test_an_id_is_rotated_and_not_shown(operator: Client, live: Session) -> None:
    specification = store()
    response = act(operator, "rotate", live, specification, post="yes")
    assert told(response) == [
        "1 session no longer has the id that it had.",
        "1 session keeps its id: its client cannot learn another one.",
    ]
    before, _ = live.digest, live.refresh_from_db()
    assert live.digest != before == live.previous_digest
    assert live.sealed_id not in response.content.decode()
    assert live.sealed_id not in text_of(operator, page_of(live))
    assert told(do(operator, specification, "rotate", ends="on")) == [
        "1 session no longer has the id that it had."
    ]
    assert history() == [
        ("operator", live.key, "Was given another id."),
        ("operator", specification.key, "Ended: rotated."),
    ]


def test_an_event_is_sent(operator: Client, live: Session) -> None:
    """Its data is not in the history."""
    put_read(get_store(), new_session(key=live.key))
    assert told(do(operator, live, "send")) == ["The event was sent to 1 session."]
    (event,) = StreamEvent.objects.all()
    assert (event.name, event.data) == ("note", '{"a":1}')
    assert history() == [("operator", live.key, "Was sent the event note.")]


def test_an_event_without_data(operator: Client, live: Session) -> None:
    do(operator, live, "send", value="")
    assert StreamEvent.objects.get().data == "null"


def test_a_client_of_the_specification_gets_no_event(operator: Client) -> None:
    (message,) = told(do(operator, store(), "send"))
    assert "speaks the specification" in message
    assert (Stream.objects.count(), history()) == (0, [])


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("send", {"event": "message"}, "cannot name an event"),
        ("send", {"event": "a b"}, "cannot name an event"),
        ("send", {"event": ""}, "This field is required."),
        ("send", {"value": "{"}, "Enter a valid JSON."),
        ("send", {"value": "NaN"}, "must be JSON"),
        ("extend", {"seconds": "0"}, "greater than or equal to 1"),
        ("extend", {"seconds": "9" * 20}, "less than or equal to"),
        ("extend", {"seconds": "soon"}, "Enter a whole number."),
    ],
)
def test_what_cannot_be_done_is_said_in_the_form(
    operator: Client, live: Session, name: str, changes: dict[str, str], said: str
) -> None:
    response = do(operator, live, name, **changes)
    assert response.status_code == 200
    assert said in response.content.decode()
    assert (history(), Stream.objects.count()) == ([], 0)


@pytest.mark.parametrize("name", NAMES)
def test_looking_changes_nothing(operator: Client, live: Session, name: str) -> None:
    page = text_of(operator, page_of(live, name), {"post": "yes", **GIVEN[name]})
    assert live.key in page
    assert "Inspector 1.2" in page
    unchanged = Session.objects.get()
    assert (unchanged.ended_at, unchanged.expires_at) == (None, live.expires_at)
    assert (history(), Stream.objects.count()) == ([], 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "operator", [[each for each in EVERYTHING if each != "end_session"], ["end_session"]], indirect=True
)
def test_it_takes_the_permissions(operator: Client, live: Session, name: str) -> None:
    assert operator.get(page_of(live, name)).status_code == 403
    assert do(operator, live, name).status_code == 403
    assert ended() == []


def test_several_have_words_of_their_own(operator: Client, live: Session) -> None:
    one, three = (
        html.unescape(act(operator, "end", *sessions).content.decode())
        for sessions in ([live], [live, store(), store()])
    )
    assert "Its id opens nothing" in one and "Yes, end it" in one
    assert "Their ids open nothing" in three and "Yes, end them" in three


@pytest.mark.parametrize("name", NAMES)
def test_a_session_that_has_ended_already(operator: Client, name: str) -> None:
    over = store(ended_at=timezone.now(), end_reason=EndReason.DELETED)
    for response in (operator.get(page_of(over, name), follow=True), do(operator, over, name)):
        assert told(response) == ["The session has ended already."]
    expired = store(expires_at=timezone.now() - timedelta(seconds=1))
    assert told(do(operator, expired, name)) == ["1 session had already ended."]
    assert history() == []


@pytest.mark.parametrize("name", NAMES)
def test_a_session_that_is_gone(operator: Client, live: Session, name: str) -> None:
    live.delete()
    live.pk = 1
    assert operator.get(page_of(live, name)).status_code == 302


def test_the_action_asks_first(operator: Client, live: Session) -> None:
    response = act(operator, "end", live)
    assert live.key in response.content.decode()
    assert "Yes, end it" in response.content.decode()
    assert (ended(), history()) == ([], [])


def test_the_action_ends_those_that_were_chosen(operator: Client, live: Session) -> None:
    two, other = store(), store()
    response = act(operator, "end", live, two, post="yes")
    assert told(response) == ["2 sessions were ended."]
    assert set(ended()) == {live.key, two.key}
    assert {entry[1] for entry in history()} == {live.key, two.key}
    assert Session.objects.get(key=other.key).ended_at is None


def test_the_action_extends(operator: Client, live: Session) -> None:
    assert "Seconds from now" in act(operator, "extend", live).content.decode()
    assert told(act(operator, "extend", live, post="yes", seconds=7200)) == ["1 session was extended."]
    assert "Enter a whole number." in act(operator, "extend", live, post="yes", seconds="a").content.decode()


def test_who_was_over_meanwhile_is_told_of(operator: Client, live: Session) -> None:
    """It is not in the list of live sessions any more."""
    over = store()
    get_store().end(over.key, timezone.now(), EndReason.DELETED)
    assert told(act(operator, "end", live, over, post="yes")) == [
        "1 session was ended.",
        "1 session had already ended.",
    ]


@pytest.mark.parametrize("operator", [["view_session"]], indirect=True)
def test_the_actions_take_the_permission(operator: Client, live: Session) -> None:
    for name in ("end", "extend"):
        act(operator, name, live, post="yes", seconds=7200)
    assert (ended(), history()) == ([], [])
    assert "end_sessions" not in text_of(operator, LIST)


def test_actions_are_named_in_the_language_of_who_looks() -> None:
    """A name that is translated while the module is imported is in the server's for everybody."""
    described = (getattr(operating.OperatingAdmin, name) for name in operating.OperatingAdmin.actions)
    assert all(isinstance(each.short_description, Promise) for each in described)


def test_all_that_are_listed_are_ended_if_they_are_not_too_many(
    operator: Client, live: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operating, "MAX_AT_ONCE", 3)
    more = [store() for _ in range(3)]
    (message,) = told(act(operator, "end", live, select_across="1", post="yes"))
    assert message == "These are too many: select at most 3 sessions at a time."
    assert ended() == []
    get_store().end(more[0].key, timezone.now(), EndReason.DELETED)
    asked = act(operator, "end", live, select_across="1").content.decode()
    assert asked.count('name="_selected_action"') == 3


def test_a_store_that_is_away(operator: Client, live: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise StoreUnavailable("The session store cannot be reached: away")

    monkeypatch.setattr(DatabaseSessionStore, "end", refuse)
    assert told(do(operator, live, "end")) == ["The session store cannot be reached: away"]


def test_a_session_in_the_memory_of_another_process(operator: Client, settings: Any) -> None:
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_STORE": MEMORY}
    rows: Any = get_rows()
    rows.create(new_session())
    (message,) = told(do(operator, Session.objects.get(), "end"))
    assert "in the memory of another process" in message


def test_nothing_can_be_added_changed_or_deleted(admin_client: Client, live: Session) -> None:
    add = f"{LIST}add/"
    assert admin_client.get(add).status_code == 403
    assert admin_client.post(page_of(live), {"owner": "somebody"}).status_code == 403
    assert admin_client.post(page_of(live, "delete"), {"post": "yes"}).status_code == 403
    assert Session.objects.get(pk=live.pk).owner == live.owner


@pytest.mark.parametrize("operator", [[]], indirect=True)
def test_who_may_not_look_sees_nothing(operator: Client, live: Session) -> None:
    for url in (LIST, page_of(live), page_of(live, "history")):
        assert operator.get(url).status_code == 403
    assert operator.post(f"{LIST}find/", {"session_id": live.key}).status_code == 403


@pytest.mark.parametrize("value", ["7" * 5000, "[" * 20_000 + "]" * 20_000, "{bad"])
def test_json_that_cannot_be_read_is_said_in_the_form(operator: Client, value: str) -> None:
    page = page_of(store(), "send")
    response = operator.post(page, {"post": "yes", "event": "greeting", "value": value})
    assert response.status_code == 200
    assert "Enter a valid JSON." in response.content.decode()
