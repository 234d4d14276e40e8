"""Django's views: an endpoint, and what Prometheus reads.

The endpoint is JSON-RPC by POST and DELETE, with the project's whole middleware, for any Django
deployment and for the test client. GET streams are the mount's (routing.mount): here GET is answered 405.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from mcp_sessions.asgi import query_of
from mcp_sessions.conf import AppSettings
from mcp_sessions.exceptions import RequestError
from mcp_sessions.exchange import Answer, EventStream, Exchange, Reply, header_map
from mcp_sessions.metrics import get_metrics
from mcp_sessions.protocol import endpoint as protocol
from mcp_sessions.protocol.answers import refusal
from mcp_sessions.protocol.metadata import describe
from mcp_sessions.runtime import Iterated
from mcp_sessions.security.reports import hide_ids
from mcp_sessions.security.wellknown import WELL_KNOWN, described_endpoint

View = Callable[..., Any]


def _outside_transactions(view: View) -> View:
    """Without the transaction of ATOMIC_REQUESTS: streams and calls outlive the request, and what was
    counted is answered while the database is unavailable.
    """
    for alias in settings.DATABASES:
        view = transaction.non_atomic_requests(using=alias)(view)
    return view


@_outside_transactions
@csrf_exempt
async def endpoint(request: HttpRequest, endpoint: str, sse_path: str = "") -> HttpResponseBase:
    """Answer a request to the endpoint configured at the path `endpoint`, or to one of its SSE_PATHS."""
    hide_ids(request)
    if request.method == "GET":
        allow = (("Allow", "POST, DELETE"),)
        return _to_response(refusal(RequestError(405, "GET streams need the ASGI mount.", headers=allow)))
    try:
        body = _read(request, AppSettings(endpoint).MAX_BODY_BYTES)
    except RequestError as error:
        return _to_response(refusal(error))
    return _to_response(await protocol.handle(_to_exchange(request, endpoint, body, sse_path)))


@_outside_transactions
@csrf_exempt
def resource_metadata(request: HttpRequest, place: str) -> HttpResponseBase:
    """Answer a request for the metadata (RFC 9728) of the endpoint that is at the path `place`."""
    described = described_endpoint(f"{WELL_KNOWN}{place}", _script_name(request))
    if described is None:
        raise Http404("No protected endpoint is there.")
    asked = replace(_to_exchange(request, described, b""), path=_script_name(request) + described)
    return _to_response(describe(asked))


def _read(request: HttpRequest, limit: int) -> bytes:
    """The body, up to the endpoint's limit and not Django's. Raises RequestError 413."""
    body = request.read(limit + 1)
    if len(body) > limit:
        raise RequestError(413, f"The body has more than {limit} bytes.")
    return body


def _to_exchange(request: HttpRequest, endpoint: str, body: bytes, sse_path: str = "") -> Exchange:
    headers = header_map(request.headers.items())
    # Without a Host (HTTP/1.0, Django's test client) the server's own name is meant, as Django takes it.
    headers.setdefault("host", request.META.get("SERVER_NAME", ""))
    return Exchange(
        method=request.method or "",
        endpoint=endpoint,
        # request.path lacks the script name where a proxy or Daphne has stripped it.
        path=_script_name(request) + (endpoint if sse_path else request.path_info),
        sse_path=sse_path,
        headers=headers,
        query_string=query_of(request),
        address=request.META.get("REMOTE_ADDR", ""),
        scheme=request.scheme or "http",
        body=body,
        # A WSGI worker serves one request at a time: a stream would keep it from everything else.
        can_stream=isinstance(request, ASGIRequest),
    )


def _script_name(request: HttpRequest) -> str:
    return str(request.META.get("SCRIPT_NAME", "")).rstrip("/")


def _to_response(reply: Reply) -> HttpResponseBase:
    response: HttpResponseBase
    if isinstance(reply, EventStream):
        response = StreamingHttpResponse(Iterated(reply.chunks), status=reply.status)
    else:
        assert isinstance(reply, Answer)
        response = HttpResponse(reply.body, status=reply.status)
        if not reply.body:
            del response["Content-Type"]
    for name, value in reply.headers:
        response[name] = value
    return response


@_outside_transactions
@require_safe
@never_cache
def prometheus_metrics(request: HttpRequest) -> HttpResponse:
    """What Prometheus reads: `path("metrics", prometheus_metrics)`.

    It asks for no credential, so let only Prometheus reach that path.
    """
    for metrics in get_metrics():
        # By its method: only protocol/ imports the library.
        if (exposition := getattr(metrics, "exposition", None)) is not None:
            body, content_type = exposition(request.headers.get("Accept", ""))
            return HttpResponse(body, content_type=content_type)
    raise Http404("SESSION_METRICS names no Prometheus.")
