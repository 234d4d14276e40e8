"""An authorization server as a resource server sees it: metadata, keys, and tokens signed with them."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

Key = Any


def new_key(kid: str | None = "first", **more: Any) -> Key:
    named = {} if kid is None else {"kid": kid}
    return ECKey.generate_key("P-256", parameters={"use": "sig", **named, **more})


@dataclass
class Issuer:
    """What it serves is at `pages`: a document, or a function of the request's form and Authorization header.

    A page that is missing is 404; while `is_away`, every page is 503.
    """

    port: int = 0
    keys: list[Key] = field(default_factory=lambda: [new_key()])
    pages: dict[str, Any] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    is_away: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def jwks_uri(self) -> str:
        return f"{self.url}/keys"

    def key_set(self) -> dict[str, Any]:
        return {"keys": [key.as_dict(private=False) for key in self.keys]}

    def token(self, key: Key | None = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """An access token; a claim that is None is left out."""
        signer = key or self.keys[0]
        own = {"iss": self.url, "sub": "ann", "client_id": "desktop", "exp": int(time.time()) + 600, **claims}
        named = {
            "alg": "ES256",
            "typ": "at+jwt",
            **({"kid": signer.kid} if signer.kid else {}),
            **(header or {}),
        }
        given = {name: value for name, value in own.items() if value is not None}
        algorithms = [named["alg"]]
        return jwt.encode(
            {name: value for name, value in named.items() if value is not None}, given, signer, algorithms
        )

    def page(self, path: str, form: bytes, authorization: str) -> Any:
        found = self.pages.get(path)
        return found(form, authorization) if callable(found) else found


def _given(pairs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in pairs.items() if value is not None}


@contextmanager
def running(issuer: Issuer | None = None) -> Iterator[Issuer]:
    """Serve an issuer on a port of this machine."""
    own = issuer or Issuer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(own))
    own.port = server.server_address[1]
    own.pages.setdefault("/keys", lambda *_: own.key_set())
    own.pages.setdefault(
        "/.well-known/oauth-authorization-server", {"issuer": own.url, "jwks_uri": own.jwks_uri}
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield own
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(issuer: Issuer) -> Callable[..., BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.requests[self.path] += 1
            form = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            page = (
                None if issuer.is_away else issuer.page(self.path, form, self.headers["Authorization"] or "")
            )
            status = 503 if issuer.is_away else 404 if page is None else 200
            if isinstance(page, tuple):
                status, page = page
            body = page if isinstance(page, bytes) else json.dumps(page).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body.decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Nothing: a test looks at `requests`."""

    return Handler
