"""Server objects that bring authentication of their own, one of each kind."""

from __future__ import annotations

import time
from typing import Any, Final

from django.contrib.auth.models import User
from django.utils import timezone
from fastmcp import FastMCP
from fastmcp.server.auth import MultiAuth, OAuthProxy, RemoteAuthProvider
from fastmcp.server.auth import TokenVerifier as FastVerifier
from fastmcp.server.auth.auth import AccessToken as FastToken
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from fastmcp.server.dependencies import get_access_token as fast_access_token
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import NotificationParams
from pydantic import AnyHttpUrl
from starlette.requests import Request
from starlette.responses import JSONResponse

from mcp_sessions import aget_user, get_principal, get_session, get_user
from mcp_sessions.exchange import Exchange
from mcp_sessions.principals import Principal
from mcp_sessions.security.authentication import BaseAuthenticator, bearer_token

ISSUER: Final = "https://login.example"
RESOURCE: Final = "https://mcp.example/sdk"
LONG_AGO: Final = 1_000_000_000


def token(name: str, **changes: Any) -> dict[str, Any]:
    """What there is to know of a token; its name is its user's, then a dash, then anything."""
    subject = name.partition("-")[0]
    return {
        "token": name,
        "client_id": "inspector",
        "scopes": ["read"],
        "subject": subject,
        "resource": RESOURCE,
        "claims": {"iss": ISSUER, "sub": subject, "email": f"{subject}@example.com"},
        **changes,
    }


KNOWN: Final[dict[str, dict[str, Any]]] = {
    "ann-1": token("ann-1", expires_at=int(time.time()) + 86400),
    "ann-2": token("ann-2", scopes=["read", "write"]),
    "ben-1": token("ben-1", resource="HTTPS://MCP.example:443/sdk/"),
    "ann-old": token("ann-old", expires_at=LONG_AGO),
    "ann-elsewhere": token("ann-elsewhere", resource="https://other.example/"),
    "ann-bare": token("ann-bare", scopes=[]),
}
revoked: Final[set[str]] = set()


class Verifier(TokenVerifier):
    """As the official SDK wants it."""

    async def verify_token(self, token: str) -> AccessToken | None:
        if token == "trouble":
            raise RuntimeError("the issuer is away")
        known = None if token in revoked else KNOWN.get(token)
        return None if known is None else AccessToken(**known)


class FastMCPVerifier(FastVerifier):
    """As FastMCP wants it; the authorization server has longer names for scopes."""

    async def verify_token(self, token: str) -> FastToken | None:
        known = None if token in revoked else KNOWN.get(token)
        return None if known is None else FastToken(**known)

    def get_challenge_scopes(self, required_scopes: list[str] | None = None) -> list[str]:
        wanted = self.required_scopes if required_scopes is None else required_scopes
        return [f"api://shop/{scope}" for scope in wanted]


verifier: Final = Verifier()
settings: Final = AuthSettings.model_validate(
    {
        "issuer_url": ISSUER,
        "resource_server_url": RESOURCE,
        "required_scopes": ["read"],
        "validate_token_resource": True,
    }
)

sdk: Final = MCPServer("guarded", auth=settings, token_verifier=verifier)
remote: Final[FastMCP[Any]] = FastMCP(
    "guarded",
    auth=RemoteAuthProvider(
        token_verifier=FastMCPVerifier(required_scopes=["read"]),
        authorization_servers=[AnyHttpUrl(ISSUER)],
        base_url="https://mcp.example",
        resource_name="The shop",
    ),
)
verified: Final[FastMCP[Any]] = FastMCP("guarded", auth=FastMCPVerifier())
multi: Final[FastMCP[Any]] = FastMCP("guarded", auth=MultiAuth(verifiers=[FastMCPVerifier()]))
open_to_all: Final[FastMCP[Any]] = FastMCP("open")


def whoami(ctx: Any = None) -> dict[str, Any]:
    """Who is calling, in the words of everybody who can be asked."""
    theirs, fast, principal = get_access_token(), fast_access_token(), get_principal(ctx)
    return {
        "sdk": theirs and [theirs.token, theirs.client_id, theirs.subject, theirs.scopes],
        "fastmcp": fast and [fast.token, fast.client_id, fast.claims.get("email")],
        "ours": [principal.issuer, principal.subject, principal.client_id],
        "claims": dict(principal.claims),
    }


async def awhoami() -> dict[str, Any]:
    return whoami()


for each in (remote, verified, multi, open_to_all):
    each.tool(whoami)
    each.tool(awhoami)
sdk.tool()(awhoami)


@sdk.tool(name="whoami")
def sdk_whoami(ctx: Context[Any, Any]) -> dict[str, Any]:
    return whoami(ctx)


@sdk.tool()
async def facts(ctx: Context[Any, Any]) -> dict[str, Any]:
    """What the session of this call says of its owner."""
    session = get_session(ctx)
    assert session.authenticated_at is not None
    since = (timezone.now() - session.authenticated_at).total_seconds()
    return {"user_id": session.user_id, "scopes": sorted(session.scopes or ()), "since": since}


@sdk.tool()
async def headers(ctx: Context[Any, Any]) -> list[str]:
    """The names of the headers that a tool is given."""
    request = ctx.request_context.request
    return [] if request is None else sorted(request.headers)


# -- what serves more than the endpoint ---------------------------------------------------------

REGISTRATION: Final = ClientRegistrationOptions(enabled=True, valid_scopes=["read"], default_scopes=["read"])

issuing: Final = MCPServer(
    "issuing",
    auth=AuthSettings(
        issuer_url=AnyHttpUrl("https://mcp.example"),
        resource_server_url=AnyHttpUrl("https://mcp.example/issuing"),
        client_registration_options=REGISTRATION,
        validate_token_resource=False,
    ),
    auth_server_provider=InMemoryOAuthProvider(base_url="https://mcp.example"),
)
fast_issuing: Final[FastMCP[Any]] = FastMCP(
    "issuing",
    auth=InMemoryOAuthProvider(base_url="https://mcp.example", client_registration_options=REGISTRATION),
)
proxied: Final[FastMCP[Any]] = FastMCP(
    "proxied",
    auth=OAuthProxy(
        upstream_authorization_endpoint=f"{ISSUER}/authorize",
        upstream_token_endpoint=f"{ISSUER}/token",
        upstream_client_id="one id for all users",
        upstream_client_secret="a secret",
        token_verifier=FastMCPVerifier(),
        base_url="https://mcp.example",
        jwt_signing_key="only for tests",
    ),
)
"""It asks another server for tokens, as one client whoever comes."""
routed: Final = MCPServer("routed")
fast_routed: Final[FastMCP[Any]] = FastMCP("routed")
issuing.tool()(awhoami)
fast_issuing.tool(whoami)


@routed.custom_route("/health", ["GET"])
async def health(request: Request) -> JSONResponse:
    return JSONResponse({"status": "well", "path": request.url.path})


again: Final[FastMCP[Any]] = FastMCP("again")
again.custom_route("/health", ["GET"])(health)


@fast_routed.custom_route("/healthz/{name}", ["GET", "POST"])
async def healthz(request: Request) -> JSONResponse:
    return JSONResponse({"name": request.path_params["name"]})


class Walled(FastMCPVerifier):
    """What only FastMCP's own application can honour."""

    def get_middleware(self) -> list[Any]:
        return super().get_middleware()


walled: Final[FastMCP[Any]] = FastMCP("walled", auth=Walled())


# -- Django's users -----------------------------------------------------------------------------


class UserNames(BaseAuthenticator):
    """A bearer token is the name of a Django user; who sends none is anonymous."""

    async def authenticate(self, exchange: Exchange) -> Principal | None:
        if (name := bearer_token(exchange)) is None:
            return Principal(scopes=None)
        user = await User.objects.filter(username=name).afirst()
        return None if user is None else Principal("names", name, scopes=None, user=user)


users: Final = MCPServer("users")


@users.tool()
def name_in_thread(ctx: Context[Any, Any]) -> str:
    user = get_user(ctx)
    return f"{user.username or 'nobody'} {user.has_perm('auth.add_user')}"


@users.tool()
async def name(ctx: Context[Any, Any]) -> str:
    user = await aget_user(ctx)
    return f"{user.username or 'nobody'} {await user.ahas_perm('auth.add_user')}"


@users.tool()
async def spoof(user: str, ctx: Context[Any, Any]) -> str:
    """A model says who it is: that is an argument, and nothing more."""
    return f"{user} is {get_user(ctx).username}"


notified: Final[list[str]] = []


async def on_roots_changed(ctx: Any, params: Any) -> None:
    notified.append(f"{get_user().username} {get_access_token()}")


users._lowlevel_server.add_notification_handler(
    "notifications/roots/list_changed", NotificationParams, on_roots_changed
)
