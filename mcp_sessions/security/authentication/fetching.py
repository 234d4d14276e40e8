"""Requests to authorization servers.

A URL of the settings is the deployer's word, and may lead into the own network. One that a server's
metadata names may not: whoever controls the metadata would have this process send requests to
machines that only it can reach (server-side request forgery). So its host is resolved here, each of its
addresses has to be a public one, and the connection goes to that very address. No redirect is followed.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from mcp_sessions.exceptions import ConfigurationError

TIMEOUT: Final = 5.0
"""Seconds for one request; requests of clients wait for it."""
MAX_BYTES: Final = 512 * 1024
PLAIN_JSON: Final = {"Accept": "application/json", "Accept-Encoding": "identity"}
"""Not compressed: a few bytes of that can be gigabytes."""


class FetchFailed(Exception):
    """Raised when a server gives no usable answer; why, is for the log."""


class Fetcher:
    """Gets JSON from authorization servers; `named` are the URLs of the settings."""

    def __init__(self, named: Iterable[str]) -> None:
        _httpx()
        self._named = {urlsplit(url)[:2] for url in named}

    async def get(self, url: str) -> dict[str, Any]:
        """The JSON object at a URL. Raises FetchFailed."""
        return await self._send("GET", url)

    async def post(self, url: str, form: Mapping[str, str], credentials: tuple[str, str]) -> dict[str, Any]:
        """The JSON object in answer to a form, sent with HTTP Basic credentials. Raises FetchFailed."""
        return await self._send("POST", url, data=dict(form), auth=credentials)

    async def _send(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        httpx = _httpx()
        try:
            async with asyncio.timeout(TIMEOUT):
                return _parsed(await self._body(method, url, options))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise FetchFailed(f"{url}: {type(error).__name__}: {error}") from error

    async def _body(self, method: str, url: str, options: dict[str, Any]) -> bytes:
        is_named = urlsplit(url)[:2] in self._named
        target: dict[str, Any] = {"url": url} if is_named else await _pinned(url)
        headers = {**PLAIN_JSON, **target.pop("headers", {})}
        # A proxy of the environment would resolve the host once more, and may take it elsewhere.
        client = _httpx().AsyncClient(verify=_certificates(), timeout=TIMEOUT, trust_env=is_named)
        async with client, client.stream(method, headers=headers, **target, **options) as response:
            if response.status_code != 200:
                raise FetchFailed(f"{url} answers {response.status_code}")
            body = b""
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise FetchFailed(f"{url} has more than {MAX_BYTES} bytes")
            return body


async def _pinned(url: str) -> dict[str, Any]:
    """What is requested in the place of the URL: the same, at the address that was found to be public."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise FetchFailed(f"{url} is not https, and the settings do not name it")
    found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 443)
    addresses = [ip_address(each[4][0]) for each in found]
    if not all(map(is_public, addresses)):
        raise FetchFailed(f"{url} leads to an address that is not public, and the settings do not name it")
    address = min(addresses, key=lambda each: each.version)
    host = f"[{address}]" if address.version == 6 else str(address)
    return {
        "url": parts._replace(netloc=f"{host}:{parts.port or 443}").geturl(),
        "headers": {"Host": parts.netloc.rpartition("@")[2]},
        "extensions": {"sni_hostname": parts.hostname},
    }


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one of the internet, also where IPv6 has one of IPv4 in it."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or _behind_nat64(address)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def _behind_nat64(address: IPv6Address) -> IPv4Address | None:
    """The address in one of 64:ff9b::/96 (RFC 6052)."""
    return IPv4Address(int(address) & 0xFFFFFFFF) if int(address) >> 32 == 0x64FF9B << 64 else None


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise FetchFailed("the answer is no JSON object")
    return found


@cache
def _certificates() -> ssl.SSLContext:
    """Of the certificate authorities, which take long to load."""
    context: ssl.SSLContext = _httpx().create_ssl_context()
    return context


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise ConfigurationError('httpx is not installed: pip install "mcp-sessions[oauth]".') from error
    return httpx
