"""The operators' pages, as the test client of Django sees them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import NoReverseMatch, reverse

from mcp_sessions.identifiers import digest_of
from mcp_sessions.models import Session
from tests.bench.measuring import Absent, Step

LIST: Final = "admin:mcp_sessions_session_changelist"
NOTHING: Final = "no session has this"
PAGE: Final = "admin:mcp_sessions_session_change"
FIND: Final = "admin:mcp_sessions_session_find"
SESSION_ID: Final = "BENCH" * 6 + "00"
DASHBOARD: Final = "admin:mcp_sessions_session_dashboard"
FIGURES: Final = "admin:mcp_sessions_session_dashboard_figures"


def steps() -> Iterator[Step]:
    client = Client()
    client.force_login(get_user_model().objects.create_superuser("operator"))
    newest = Session.objects.latest("pk").pk
    Session.objects.filter(pk=newest).update(digest=digest_of(SESSION_ID))
    yield Step("list: live sessions", partial(_list, client, ""))
    yield Step("list: all", partial(_list, client, "state=all"))
    yield Step("list: all, page 2", partial(_list, client, "state=all&p=2"))
    for name, query in _filters(client):
        yield Step(f"list: all, {name}", partial(_list, client, query))
    for name, text in _searches():
        yield Step(f"search: {name}", partial(_search, client, text))
    for name, pk in _sessions():
        yield Step(f"page of a session{name}", partial(_page, client, PAGE, [pk], ""))
    yield Step("search: full id", partial(_find, client, newest))
    # Once each: the dashboard keeps what it has computed for a while. So it is asked for one endpoint, too.
    yield Step("dashboard, a day", partial(_page, client, DASHBOARD, [], "timeframe=day"), once=True)
    for timeframe in ("hour", "day", "week"):
        query = f"timeframe={timeframe}&server=/mcp"
        name = f"dashboard's figures, {timeframe}, of /mcp"
        yield Step(name, partial(_page, client, FIGURES, [], query), once=True)


def _page(client: Client, name: str, args: list[Any], query: str) -> str:
    url = f"{_url(name, args)}?{query}"
    answer = client.get(url)
    assert answer.status_code == 200, (url, answer.status_code)
    return f"{len(answer.content) // 1024:,} KiB"


def _find(client: Client, pk: int) -> str:
    answer = client.post(_url(FIND, []), {"session_id": SESSION_ID})
    assert answer.headers.get("Location") == _url(PAGE, [pk]), (answer.status_code, answer.headers)
    return "1 found"


def _url(name: str, args: list[Any]) -> str:
    try:
        return reverse(name, args=args)
    except NoReverseMatch:
        raise Absent("there is no such page") from None


def _list(client: Client, query: str) -> str:
    return _found(_changelist(client, query))


def _found(changelist: Any) -> str:
    """A list may count no further than it has to."""
    count = changelist.result_count
    return f"{count:,}{'+' if getattr(count, 'has_more', False) else ''} found"


def _changelist(client: Client, query: str) -> Any:
    answer = client.get(f"{reverse(LIST)}?{query}")
    assert answer.status_code == 200, (query, answer.status_code, answer.headers.get("Location"))
    return answer.context_data["cl"]


def _search(client: Client, text: str) -> str:
    changelist = _changelist(client, f"state=all&q={quote(text)}")
    if not changelist.result_count and text != NOTHING:
        raise Absent("finds nothing: it does not look there")
    return _found(changelist)


def _filters(client: Client) -> Iterator[tuple[str, str]]:
    """Each filter there is, at its second choice (the first is none); and a day of the date hierarchy."""
    changelist = _changelist(client, "state=all")
    for spec in changelist.filter_specs:
        choices = [choice for choice in spec.choices(changelist) if not choice.get("selected")]
        if choices and "query_string" in choices[0]:
            yield f"by {spec.title}: {choices[0]['display']}".lower(), choices[0]["query_string"].lstrip("?")
    if field := changelist.model_admin.date_hierarchy:
        at = Session.objects.latest("created_at").created_at
        day = f"{field}__year={at.year}&{field}__month={at.month}&{field}__day={at.day}"
        yield "one day", f"state=all&{day}"


def _searches() -> Iterator[tuple[str, str]]:
    """By what log lines, users and clients say."""
    session = Session.objects.exclude(owner="").order_by("pk")[Session.objects.latest("pk").pk // 3]
    yield "key", session.key
    yield "beginning of a key", session.key[:10]
    yield "owner", session.owner
    yield "address", session.metadata["address"]
    yield "client", session.metadata["client"]["name"]
    yield "nothing like it", NOTHING


def _sessions() -> Iterator[tuple[str, int]]:
    yield "", Session.objects.order_by("-pk")[0].pk
    yield " with a stream of many events", Session.objects.order_by("pk")[2].pk
