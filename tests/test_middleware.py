"""SessionMiddleware: the session of a request, for every other view."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.contrib.auth import alogin, get_user_model, login
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import SynchronousOnlyOperation
from django.http import Http404, HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.utils import timezone
from django.utils.log import AdminEmailHandler
from django.views.debug import ExceptionReporter, technical_500_response

from mcp_sessions.exceptions import InvalidSessionData, SessionBusy, StoreUnavailable
from mcp_sessions.identifiers import digest_of, new_session_id
from mcp_sessions.middleware import SessionMiddleware
from mcp_sessions.principals import user_owner
from mcp_sessions.records import EndReason
from mcp_sessions.runtime import adopt, peek
from mcp_sessions.stores import get_store
from mcp_sessions.views import endpoint
from tests.process import in_thread, own_process
from tests.records import new_session

pytestmark = pytest.mark.django_db(transaction=True)

View = Callable[[Any], Any]


def seen(**request: Any) -> HttpRequest:
    """The request as a view behind the middleware sees it."""
    views: list[HttpRequest] = []
    answered(lambda found: views.append(found), **request)
    return views[0]


def answered(view: View, **headers: Any) -> HttpResponse:
    """What comes back of a request to a synchronous view that may answer."""
    path = headers.pop("path", "/shop")
    middleware = SessionMiddleware(lambda request: view(request) or HttpResponse())
    response: Any = middleware(RequestFactory().get(path, headers=headers))
    assert isinstance(response, HttpResponse)
    return response


async def aanswered(view: View, session_id: str) -> HttpResponse:
    """What comes back of a request to an asynchronous view."""

    async def get_response(request: HttpRequest) -> HttpResponse:
        return await view(request) or HttpResponse()

    middleware = SessionMiddleware(get_response)
    assert iscoroutinefunction(middleware)
    response: Any = await middleware(RequestFactory().get("/shop", headers={"X-Session-ID": session_id}))
    assert isinstance(response, HttpResponse)
    return response


def put(**changes: Any) -> str:
    """The id of a session that is in the store."""
    session_id = new_session_id()
    get_store().create(new_session(digest=digest_of(session_id), **changes))
    return session_id


def kept(session_id: str) -> Mapping[str, Any]:
    found = get_store().load(digest_of(session_id))
    assert found is not None
    return found.data


def key_of(session_id: str) -> str:
    found = get_store().load(digest_of(session_id))
    assert found is not None
    return found.key


def tool_edits(session_id: str, **changes: Any) -> None:
    """A tool of another process edits the session, without waiting for anybody."""
    now, key = timezone.now(), key_of(session_id)
    data = get_store().lease(key, "tool", now, now + timedelta(minutes=1))
    assert data is not None
    assert get_store().release(key, "tool", {**data, **changes})


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the sessions that were edited."""
    found: list[str] = []
    store = get_store()
    lease = store.lease

    def counted(key: str, *arguments: Any) -> Any:
        found.append(key)
        return lease(key, *arguments)

    monkeypatch.setattr(store, "lease", counted)
    return found


@pytest.fixture
def session_id() -> str:
    return put(data={"basket": ["A1"]})


# Which session


@pytest.mark.parametrize("header", ["Mcp-Session-Id", "X-Session-ID"])
def test_a_header_names_the_session(session_id: str, header: str) -> None:
    request: Any = seen(**{header: session_id})
    assert request.mcp_session_id == session_id
    assert request.mcp_session.data == {"basket": ["A1"]}


def test_so_does_the_query(session_id: str) -> None:
    request: Any = seen(path=f"/shop?session_id={session_id}")
    assert request.mcp_session.data == {"basket": ["A1"]}


def test_a_session_that_is_bound_to_another_address_is_none(settings: Any, process: None) -> None:
    binding = {"address": "reject"}
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "SESSION_BINDING": binding, "TRUSTED_PROXIES": 1}
    session_id = put(metadata={"address": "203.0.113.9"})
    for address, is_found in (("203.0.113.9", True), ("203.0.113.10", False)):
        request: Any = seen(**{"X-Session-ID": session_id, "X-Forwarded-For": address})
        assert bool(request.mcp_session) is is_found


def test_nothing_is_loaded_until_it_is_looked_at(session_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    store = get_store()
    load = store.load
    monkeypatch.setattr(store, "load", lambda digest: loads.append(digest) or load(digest))
    request: Any = seen(**{"X-Session-ID": session_id})
    assert loads == []
    assert request.mcp_session
    assert request.mcp_session.key
    assert loads == [digest_of(session_id)]


@pytest.mark.parametrize(
    "named", [{}, {"X-Session-ID": "A" * 32}, {"X-Session-ID": "A" * 32, "Mcp-Session-Id": "B" * 32}]
)
def test_without_a_live_session_it_is_false(named: dict[str, str]) -> None:
    request: Any = seen(**named)
    assert not request.mcp_session


def test_an_expired_session_is_false() -> None:
    session_id = put(expires_at=timezone.now() - timedelta(seconds=1))
    request: Any = seen(**{"X-Session-ID": session_id})
    assert not request.mcp_session


def test_a_key_opens_nothing() -> None:
    session = new_session()
    get_store().create(session)
    request: Any = seen(**{"X-Session-ID": session.key})
    assert not request.mcp_session


def test_somebody_elses_session_is_false(caplog: pytest.LogCaptureFixture) -> None:
    session_id = put(owner="somebody")
    request: Any = seen(**{"X-Session-ID": session_id})
    assert not request.mcp_session
    assert "request refused: owner" in caplog.text
    assert session_id not in caplog.text


def test_a_session_with_nothing_in_it_is_true() -> None:
    session_id = put()
    request: Any = seen(**{"X-Session-ID": session_id})
    assert request.mcp_session
    assert len(request.mcp_session) == 0
    assert request.mcp_session.key == key_of(session_id)


# A dict, as Django's own session is


def test_it_is_a_dict(session_id: str) -> None:
    def view(request: Any) -> None:
        session = request.mcp_session
        assert (session["basket"], session.get("n"), "n" in session, list(session)) == (
            ["A1"],
            None,
            False,
            ["basket"],
        )
        with pytest.raises(KeyError):
            session["n"]
        session["n"] = 1
        session["gone"] = 2
        del session["gone"]
        session.update(a=1, b=2)
        assert session.setdefault("n", 3) == 1
        session.setdefault("list", []).append(4)
        assert session.pop("a") == 1
        assert session == {"basket": ["A1"], "n": 1, "b": 2, "list": [4]}
        assert session.data == {"basket": ["A1"]}

    answered(view, **{"X-Session-ID": session_id})
    assert kept(session_id) == {"basket": ["A1"], "n": 1, "b": 2, "list": [4]}


def test_all_of_it_may_be_deleted(session_id: str) -> None:
    answered(lambda request: request.mcp_session.clear(), **{"X-Session-ID": session_id})
    assert kept(session_id) == {}


def test_what_is_only_read_is_not_saved(session_id: str, leases: list[str]) -> None:
    answered(lambda request: None, **{"X-Session-ID": session_id})
    answered(lambda request: HttpResponse(request.mcp_session["basket"]), **{"X-Session-ID": session_id})
    assert leases == []


def test_a_change_inside_a_value_is_saved_when_it_is_said_so(session_id: str, leases: list[str]) -> None:
    def silent(request: Any) -> None:
        request.mcp_session["basket"].append("B2")

    def said(request: Any) -> None:
        request.mcp_session["basket"].append("B2")
        request.mcp_session.modified = True

    answered(silent, **{"X-Session-ID": session_id})
    assert (kept(session_id), leases) == ({"basket": ["A1"]}, [])
    answered(said, **{"X-Session-ID": session_id})
    assert (kept(session_id), leases) == ({"basket": ["A1", "B2"]}, [key_of(session_id)])


def test_what_tools_change_meanwhile_under_other_names_stays() -> None:
    session_id = put(data={"set": 1, "deleted": 1, "nested": {"a": [1]}, "theirs": 1, "untouched": [1]})

    def view(request: Any) -> None:
        session = request.mcp_session
        session["set"] = 2
        del session["deleted"]
        session["nested"]["a"].append(2)
        tool_edits(session_id, theirs=2, new=1, set=9, nested=9)

    answered(view, **{"X-Session-ID": session_id})
    expected = {"set": 2, "nested": {"a": [1, 2]}, "theirs": 2, "untouched": [1], "new": 1}
    assert kept(session_id) == expected


def test_what_is_set_to_what_it_was_counts_as_set() -> None:
    session_id = put(data={"n": 1})

    def view(request: Any) -> None:
        request.mcp_session["n"] = 1
        tool_edits(session_id, n=2)

    answered(view, **{"X-Session-ID": session_id})
    assert kept(session_id) == {"n": 1}


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (0, False), (1, 1.0), ({"a": 1}, {"a": 2}), ([1], [1, 2])]
)
def test_values_that_are_equal_in_python_only_are_changes(before: Any, after: Any) -> None:
    session_id = put(data={"inside": [before]})

    def view(request: Any) -> None:
        request.mcp_session["inside"][0] = after
        request.mcp_session.modified = True

    answered(view, **{"X-Session-ID": session_id})
    (found,) = kept(session_id)["inside"]
    assert (found, type(found)) == (after, type(after))


def test_what_is_called_modified_and_is_not_overwrites_nothing(session_id: str) -> None:
    def view(request: Any) -> None:
        request.mcp_session.modified = True
        tool_edits(session_id, basket=[])

    answered(view, **{"X-Session-ID": session_id})
    assert kept(session_id) == {"basket": []}


def test_an_edit_inside_a_view_is_stored_at_once(session_id: str) -> None:
    def view(request: Any) -> HttpResponse:
        session = request.mcp_session
        session["mine"] = 1
        tool_edits(session_id, theirs=1)
        with session.edit() as data:
            data["edited"] = data["theirs"] + 1
        assert kept(session_id) == session.data == {"basket": ["A1"], "theirs": 1, "edited": 2}
        assert session == {"basket": ["A1"], "theirs": 1, "edited": 2, "mine": 1}
        return HttpResponse()

    answered(view, **{"X-Session-ID": session_id})
    assert kept(session_id) == {"basket": ["A1"], "theirs": 1, "edited": 2, "mine": 1}


# What becomes of the response


@pytest.mark.parametrize(("status", "is_saved"), [(200, True), (404, True), (500, False), (503, False)])
def test_nothing_is_saved_after_a_server_error(session_id: str, status: int, is_saved: bool) -> None:
    def view(request: Any) -> HttpResponse:
        request.mcp_session["n"] = 1
        return HttpResponse(status=status)

    assert answered(view, **{"X-Session-ID": session_id}).status_code == status
    assert ("n" in kept(session_id)) == is_saved


def test_if_the_session_has_ended_the_response_goes_out(
    session_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    def view(request: Any) -> HttpResponse:
        request.mcp_session["n"] = 1
        get_store().end(request.mcp_session.key, timezone.now(), EndReason.DELETED)
        return HttpResponse("done")

    assert answered(view, **{"X-Session-ID": session_id}).content == b"done"
    (record,) = caplog.get_records("call")
    assert (record.name, record.levelno) == ("mcp_sessions.middleware", logging.WARNING)
    assert key_of(session_id) in record.getMessage()
    assert kept(session_id) == {"basket": ["A1"]}


def test_what_cannot_be_stored_is_an_error(settings: Any, session_id: str) -> None:
    def no_json(request: Any) -> None:
        request.mcp_session["n"] = object()

    def busy(request: Any) -> None:
        request.mcp_session["n"] = 1
        later = timezone.now() + timedelta(minutes=20)
        get_store().lease(request.mcp_session.key, "tool", later, later)

    with pytest.raises(InvalidSessionData):
        answered(no_json, **{"X-Session-ID": session_id})
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "EDIT_TIMEOUT": 0.05}
    with pytest.raises(SessionBusy):
        answered(busy, **{"X-Session-ID": session_id})


# Asynchronous views


async def test_an_asynchronous_view_awaits_it(process: None) -> None:
    """On the runtime's own loop, which would wait for itself if anything blocked."""
    adopt()
    session_id = await in_thread(lambda: put(data={"n": 1}))

    async def view(request: Any) -> None:
        session = await request.amcp_session()
        assert session is await request.amcp_session()
        session["n"] += 1
        assert request.mcp_session["n"] == 2
        request.mcp_session["m"] = 1

    await aanswered(view, session_id)
    assert await in_thread(lambda: kept(session_id)) == {"n": 2, "m": 1}


async def test_an_asynchronous_view_that_would_block_the_loop_is_told(process: None) -> None:
    """Whether or not the runtime has another loop."""
    session_id = await in_thread(put)

    async def view(request: Any) -> None:
        with pytest.raises(SynchronousOnlyOperation, match="amcp_session"):
            bool(request.mcp_session)

    assert peek() is None
    await aanswered(view, session_id)
    adopt()
    await aanswered(view, session_id)


async def test_an_asynchronous_view_without_a_live_session_gets_none(process: None) -> None:
    async def view(request: Any) -> None:
        assert await request.amcp_session() is None
        assert not request.mcp_session

    await aanswered(view, "A" * 32)


async def test_requests_at_once_keep_what_each_of_them_has_set(process: None) -> None:
    adopt()
    session_id = await in_thread(put)
    are_loaded = asyncio.Barrier(20)

    async def ask(number: int) -> None:
        async def view(request: Any) -> None:
            session = await request.amcp_session()
            await are_loaded.wait()
            session[f"{number}"] = number

        await aanswered(view, session_id)

    await asyncio.gather(*map(ask, range(20)))
    assert await in_thread(lambda: kept(session_id)) == {f"{number}": number for number in range(20)}


# In a project


def count(request: Any) -> HttpResponse:
    request.mcp_session["n"] = request.mcp_session.get("n", 0) + 1
    return HttpResponse(request.mcp_session["n"])


async def acount(request: Any) -> HttpResponse:
    session = await request.amcp_session()
    session["n"] = session.get("n", 0) + 1
    return HttpResponse(session["n"])


def fail(request: Any) -> HttpResponse:
    request.mcp_session["n"] = 99
    raise RuntimeError("a bug")


def miss(request: Any) -> HttpResponse:
    request.mcp_session["missed"] = True
    raise Http404


urlpatterns = [path("count", count), path("acount", acount), path("fail", fail), path("miss", miss)]
PATHS = ["/count", "/acount", "/fail", "/miss", "/count"]
ANSWERS = [(200, b"1"), (200, b"2"), (500, None), (404, None), (200, b"3")]


@pytest.fixture
def in_project(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "mcp_sessions.middleware.SessionMiddleware"]


def test_under_wsgi_every_kind_of_view_has_it(in_project: None, session_id: str) -> None:
    client = Client(raise_request_exception=False, headers={"X-Session-ID": session_id})
    found = [client.get(path) for path in PATHS]
    assert [
        (each.status_code, each.content if each.status_code == 200 else None) for each in found
    ] == ANSWERS
    assert kept(session_id) == {"basket": ["A1"], "n": 3, "missed": True}


async def test_under_asgi_every_kind_of_view_has_it(in_project: None, transactional_db: None) -> None:
    async with own_process():
        adopt()
        session_id = await in_thread(put)
        client = AsyncClient(raise_request_exception=False)
        found = [await client.get(path, headers={"X-Session-ID": session_id}) for path in PATHS]
        assert [
            (each.status_code, each.content if each.status_code == 200 else None) for each in found
        ] == ANSWERS
        assert await in_thread(lambda: kept(session_id)) == {"n": 3, "missed": True}


@pytest.mark.parametrize("path", ["/shop", "/mcp"])
def test_no_error_report_has_the_id_of_a_header(path: str) -> None:
    """The page of DEBUG, and the mail that ADMINS get of a view that fails."""
    session_id, asked = new_session_id(), RequestFactory().post
    headers = {"Mcp-Session-Id": session_id, "Last-Event-ID": session_id, "X-Seen": "yes"}
    request = asked(path, headers=headers)
    if path == "/mcp":
        asyncio.run(endpoint(request, "/mcp"))
    else:
        SessionMiddleware(lambda _: HttpResponse())(request)
    for is_page in (True, False):
        reporter = ExceptionReporter(request, ValueError, ValueError("no"), None)
        report = reporter.get_traceback_html() if is_page else reporter.get_traceback_text()
        assert "HTTP_MCP_SESSION_ID" in report and "HTTP_X_SEEN" in report
        assert session_id not in report


@pytest.mark.parametrize("where", ["header", "query"])
def test_the_page_of_debug_has_no_id_at_all(where: str, settings: Any) -> None:
    """Neither in the URL and the parameters, nor in the variables of a frame."""
    settings.DEBUG, session_id = True, new_session_id()

    def view(request: Any) -> HttpResponse:
        seen = request.mcp_session_id
        raise ValueError(f"no, {seen}")

    if where == "header":
        request = RequestFactory().get("/shop?page=2", headers={"X-Session-ID": session_id})
    else:
        request = RequestFactory().get(f"/shop?session_id={session_id}&page=2")
    with pytest.raises(ValueError, match="no, ") as raised:
        SessionMiddleware(view)(request)
    found = technical_500_response(request, raised.type, raised.value, raised.tb)
    page = found.content.decode()
    assert "/shop?" in page and "page" in page and "ValueError" in page
    assert session_id not in page


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Session-ID": "{} "},
        {"X-Session-ID": "{0}, {0}"},
        {"X-Session-ID": "{}", "Mcp-Session-Id": "another-id-of-a-client"},
        {"Last-Event-ID": "{}"},
    ],
)
def test_nor_however_it_is_sent(headers: dict[str, str], settings: Any) -> None:
    """Padded, twice, beside another one, or where nobody looks for it."""
    settings.DEBUG, session_id = True, new_session_id()
    request = RequestFactory().get(
        "/shop", headers={name: value.format(session_id) for name, value in headers.items()}
    )

    def view(request: Any) -> HttpResponse:
        sent = [each.strip(" ,") for value in request.META.values() for each in str(value).split()]
        raise ValueError(f"no, {max(sent, key=session_id.__eq__)}")

    with pytest.raises(ValueError, match=session_id) as raised:
        SessionMiddleware(view)(request)
    page = technical_500_response(request, raised.type, raised.value, raised.tb).content.decode()
    assert "ValueError" in page and session_id not in page


def test_mails_have_none_by_the_reporter_of_ours(settings: Any, mailoutbox: Any) -> None:
    settings.DEFAULT_EXCEPTION_REPORTER = "mcp_sessions.security.reports.IdHidingReporter"
    settings.ADMINS = [("Ann", "ann@example.com")]
    session_id = new_session_id()
    request = RequestFactory().get(f"/shop?session_id={session_id}")
    record = logging.LogRecord(
        "django.request", logging.ERROR, "", 1, "Internal Server Error: /shop", (), None
    )
    record.request = request
    AdminEmailHandler().emit(record)
    (mail,) = mailoutbox
    assert "/shop?" in mail.body and session_id not in mail.body + mail.subject


# Logging in


@pytest.fixture
def takes_logins(settings: Any) -> None:
    names = ("DjangoSessions", "AllowAnonymous")
    chosen = [f"mcp_sessions.security.authentication.{name}" for name in names]
    settings.MCP_SESSIONS = {**settings.MCP_SESSIONS, "AUTHENTICATORS": chosen}


def log_in(user: Any, session_id: str, status: int = 200) -> None:
    """Log in by a request that names a session."""

    def view(request: HttpRequest) -> HttpResponse:
        request.session = SessionStore()  # type: ignore[assignment]
        login(request, user, "django.contrib.auth.backends.ModelBackend")
        return HttpResponse(status=status)

    answered(view, **{"X-Session-ID": session_id})


def found(session_id: str) -> Any:
    return get_store().load(digest_of(session_id))


@pytest.mark.usefixtures("takes_logins", "process")
def test_a_login_gives_an_anonymous_session_another_id_and_an_owner() -> None:
    ann, old = get_user_model().objects.create_user("ann"), put(metadata={"dialect": "guide"})
    key = key_of(old)
    log_in(ann, old)
    session: Any = get_store().load_by_key(key)
    assert (session.owner, session.previous_digest) == (user_owner(ann.pk), digest_of(old))
    assert session.digest != digest_of(old)


@pytest.mark.usefixtures("takes_logins", "process")
async def test_an_asynchronous_login_does_so_too() -> None:
    def prepare() -> tuple[Any, str]:
        return get_user_model().objects.create_user("ann"), put(metadata={"dialect": "guide"})

    ann, old = await in_thread(prepare)

    async def view(request: HttpRequest) -> HttpResponse:
        request.session = SessionStore()  # type: ignore[assignment]
        await alogin(request, ann, "django.contrib.auth.backends.ModelBackend")
        return HttpResponse()

    await aanswered(view, old)
    session: Any = await in_thread(lambda: found(old))
    assert (session.owner, session.previous_digest) == (user_owner(ann.pk), digest_of(old))


@pytest.mark.usefixtures("takes_logins", "process")
@pytest.mark.parametrize(
    ("owner", "metadata", "status"),
    [
        ("user:0", {"dialect": "guide"}, 200),
        # Its client cannot learn another id.
        ("", {}, 200),
        # Django's own session stays as it was.
        ("", {"dialect": "guide"}, 500),
    ],
)
def test_other_sessions_stay_as_they_are(owner: str, metadata: Any, status: int) -> None:
    ann, session_id = get_user_model().objects.create_user("ann"), put(owner=owner, metadata=metadata)
    log_in(ann, session_id, status)
    assert found(session_id).owner == owner and not found(session_id).previous_digest


@pytest.mark.usefixtures("process")
def test_where_a_login_is_no_credential_the_session_stays_its_clients() -> None:
    ann, session_id = get_user_model().objects.create_user("ann"), put(metadata={"dialect": "guide"})
    log_in(ann, session_id)
    assert found(session_id).owner == "" and not found(session_id).previous_digest


@pytest.mark.usefixtures("takes_logins", "process")
def test_a_sessions_key_is_no_id_at_a_login_either() -> None:
    ann, session_id = get_user_model().objects.create_user("ann"), put(metadata={"dialect": "guide"})
    log_in(ann, key_of(session_id))
    assert found(session_id).owner == ""


@pytest.mark.usefixtures("takes_logins", "process")
def test_a_login_succeeds_while_the_store_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ann, session_id = get_user_model().objects.create_user("ann"), put(metadata={"dialect": "guide"})

    def fail(*_: object) -> None:
        raise StoreUnavailable("it is away")

    monkeypatch.setattr(get_store(), "rotate", fail)
    log_in(ann, session_id)
    assert "a session is not rotated at a login: it is away" in caplog.text
