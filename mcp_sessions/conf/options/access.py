from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mcp_sessions.conf import kinds
from mcp_sessions.conf.option import Option, OptionGroup


class Access(OptionGroup):
    """[Authentication](authentication.md) shows these options at work."""

    title = "Decide who may call"

    AUTHENTICATORS = Option[Sequence[Any]](
        (),
        kinds.AUTHENTICATORS,
        'The authenticators, which find out who sent a request: dotted paths, or `{"BACKEND": dotted '
        'path, "OPTIONS": {…}}` ([authentication.md](authentication.md)). They are asked in order at '
        "every request, and the first that recognises a credential decides. Without authenticators, the "
        "`auth` of the server object protects the endpoint. Without that, anybody may call it.",
    )
    REQUIRED_SCOPES = Option[Sequence[str]](
        (),
        kinds.SCOPES,
        "The scopes that a credential must have for any request. A credential without them gets 403 with "
        "`insufficient_scope`. A request without a credential gets 401, even if `AllowAnonymous` is among "
        "the authenticators. Clients ask for these scopes, except for `offline_access`, which "
        "clients ask for by themselves. If this is empty, the scopes that the `auth` of the server object "
        "requires are required.",
    )
    REQUIRES = Option[Mapping[str, Any]](
        {},
        kinds.REQUIREMENTS,
        "The scopes and Django permissions that single tools, resources and prompts require, for server "
        'objects that you cannot edit: `{"tools": {"delete_*": {"scopes": ["write"], "permissions": '
        '["shop.delete_order"]}}}` ([authentication.md](authentication.md#permissions)). The inner keys '
        "are patterns of names, URIs or URI templates. The requirements of `@requires` hold as well.",
    )
    MAY_WATCH = Option[str | Callable[..., Any] | None](
        None,
        kinds.FUNCTION.or_none(),
        "The function that says who may watch resources and lists, or its dotted path; see [Who may "
        "watch resources](authentication.md#who-may-watch-resources). `None` means everybody who may call.",
    )
    AUTHORIZATION_SERVERS = Option[Sequence[str]](
        (),
        kinds.URLS,
        "The issuer URLs of the OAuth servers whose tokens the endpoint takes. If this is empty, the "
        "authenticators name them. Clients find them in the endpoint's metadata (RFC 9728), to which each "
        "401 points ([authentication.md](authentication.md#the-endpoints-metadata)).",
    )
    RESOURCE_URL = Option[str | None](
        None,
        kinds.URL.or_none(),
        "The public URL of the endpoint. Tokens must be issued for it. `None` means the URL from the "
        "`auth` of the server object, or else the URL of the request, which is right if `ALLOWED_HOSTS` "
        "names the hosts (check `E021`).",
    )
    ALLOWED_ORIGINS = Option[Sequence[str]](
        (),
        kinds.ORIGINS,
        'The origins of web pages that may call the endpoint, besides its own origin. `"*"` allows any. '
        "Host names are checked by Django's `ALLOWED_HOSTS`.",
    )
    SESSION_BINDING = Option[Mapping[str, Any]](
        {"user": "reject"},
        kinds.BINDING,
        "What a request must have in common with the request that opened its session; see "
        "[Binding](#binding).",
    )
    TRUSTED_PROXIES = Option[int](
        0,
        kinds.COUNT_OR_ZERO,
        "The number of proxies in front of the server that append to `X-Forwarded-For`; see [Behind a "
        "proxy](#behind-a-proxy).",
    )
