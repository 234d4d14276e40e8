"""The public keys of an issuer: fetched when they are needed, kept, and fetched again.

Source: RFC 7517 (JWK sets), RFC 8414 and OpenID Connect Discovery (where they are).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from mcp_sessions.exceptions import AuthenticationUnavailable
from mcp_sessions.security.authentication.fetching import Fetcher, FetchFailed

logger = logging.getLogger("mcp_sessions.security")

LIFETIME: Final = 3600.0
"""Seconds for which fetched keys are used without looking again."""
COOLDOWN: Final = 30.0
"""Seconds between two fetches for a key that is not there: anybody can make up names of keys."""
RETRY_SECONDS: Final = 5.0
"""Seconds between two attempts to fetch keys while that fails."""
MAX_STALE: Final = 24 * 3600.0
"""Seconds for which keys are used that cannot be fetched again."""


class IssuerKeys:
    """The keys of one issuer, at `jwks_uri` or where the issuer's metadata says."""

    def __init__(
        self, issuer: str, jwks_uri: str | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer = issuer
        self._uri = jwks_uri
        self._fetcher = Fetcher([issuer, *([jwks_uri] if jwks_uri else [])])
        self._clock = clock
        self._keys: dict[str | None, Any] = {}
        self._fetched_at = self._next_fetch_at = -math.inf
        self._has_failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> Any:
        """The key of that name, or None if the issuer has none.

        Raises AuthenticationUnavailable if that cannot be found out, because the keys cannot be fetched.
        """
        if self._age() >= LIFETIME or kid not in self._keys:
            await self._refresh()
        if self._has_failed and (kid not in self._keys or self._age() >= MAX_STALE):
            raise AuthenticationUnavailable
        return self._keys.get(kid)

    def _age(self) -> float:
        return self._clock() - self._fetched_at

    async def _refresh(self) -> None:
        """Fetch the keys, unless that was done a moment ago. All who wait for them share one attempt."""
        if self._fetching is None:
            if self._clock() < self._next_fetch_at:
                return
            # Never eager (asyncio.eager_task_factory): one that is over at once would stay the one under way.
            self._fetching = asyncio.Task(self._fetch())
        # The request that has begun it may be given up; others wait for it.
        await asyncio.shield(self._fetching)

    async def _fetch(self) -> None:
        try:
            self._keys = dict(_usable(await self._fetcher.get(self._uri or await self._discovered())))
            self._fetched_at, self._has_failed = self._clock(), False
        except FetchFailed as error:
            logger.warning("the keys of %s cannot be fetched: %s", self._issuer, error)
            self._has_failed = True
        finally:
            self._next_fetch_at = self._clock() + (RETRY_SECONDS if self._has_failed else COOLDOWN)
            self._fetching = None

    async def _discovered(self) -> str:
        """The JWKS URI in the issuer's metadata. Raises FetchFailed."""
        failures = []
        for url in metadata_urls(self._issuer):
            try:
                metadata = await self._fetcher.get(url)
            except FetchFailed as error:
                failures.append(str(error))
                continue
            if metadata.get("issuer") != self._issuer or not isinstance(metadata.get("jwks_uri"), str):
                failures.append(f"{url} is the metadata of another issuer, or names no keys")
                continue
            return str(metadata["jwks_uri"])
        raise FetchFailed("; ".join(failures))


def metadata_urls(issuer: str) -> list[str]:
    """Where an issuer's metadata may be: RFC 8414 puts the well-known part before the path, OpenID behind."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    origin = f"{parts.scheme}://{parts.netloc}"
    return [
        f"{origin}/.well-known/oauth-authorization-server{path}",
        f"{origin}{path}/.well-known/openid-configuration",
    ]


def _usable(document: Mapping[str, Any]) -> Iterator[tuple[str | None, Any]]:
    """The public keys for signatures by their names; the only one of a set is found without a name, too."""
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    found = []
    entries = document.get("keys")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
            continue
        try:
            found.append(JWKRegistry.import_key(entry))
        except (JoseError, ValueError, TypeError, KeyError):
            logger.warning("a key of an authorization server is ignored: %r", entry.get("kid"))
    yield from ((key.kid, key) for key in found)
    if len(found) == 1:
        yield None, found[0]
