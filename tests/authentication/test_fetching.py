"""Requests to authorization servers lead nowhere but where the settings, or the internet, have one."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mcp_sessions.security.authentication import fetching
from mcp_sessions.security.authentication.fetching import Fetcher, FetchFailed, is_public
from tests.harness.issuer import Issuer


async def test_what_the_settings_name_may_be_in_the_own_network(issuer: Issuer) -> None:
    assert await Fetcher([f"{issuer.url}/realms/a"]).get(issuer.jwks_uri) == issuer.key_set()


@pytest.mark.parametrize(
    "url",
    [
        "{issuer}/keys",
        "https://127.0.0.1:{port}/keys",
        "https://localhost:{port}/keys",
        "https://[::1]:{port}/keys",
        "https://[::ffff:127.0.0.1]:{port}/keys",
        "https://2130706433:{port}/keys",
        "https://named@127.0.0.1:{port}/keys",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/",
        "http://login.example/keys",
        "file:///etc/passwd",
        "https://",
        "https://a:b/",
        "https://\udcff/",
        "",
    ],
)
async def test_what_only_metadata_names_may_not(issuer: Issuer, url: str) -> None:
    with pytest.raises(FetchFailed):
        await Fetcher(["https://login.example"]).get(url.format(issuer=issuer.url, port=issuer.port))
    assert issuer.requests.total() == 0


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *((each, True) for each in ("93.184.215.14", "2606:2800:21f:cb07::1", "64:ff9b::5db8:d70e")),
        *((each, False) for each in ("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.1.1")),
        *((each, False) for each in ("192.168.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1")),
        *(
            (each, False)
            for each in ("fc00::1", "ff02::1", "::ffff:10.0.0.1", "2002:a00:1::", "64:ff9b::a00:1")
        ),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(ip_address(address)) is public


async def test_a_name_with_one_private_address_is_private(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "93.184.215.14", "10.0.0.1")
    with pytest.raises(FetchFailed, match="not public"):
        await Fetcher([]).get("https://keys.example/")


async def test_the_connection_goes_to_the_address_that_was_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A name that resolves to another address a moment later changes nothing. TLS is still the name's."""
    monkeypatch.setattr(fetching, "is_public", lambda _: True)
    resolve_to(monkeypatch, "127.0.0.1")
    async with tls_server(monkeypatch, tmp_path, "keys.example") as (port, heads):
        assert await Fetcher([]).get(f"https://keys.example:{port}/keys?a=1") == {"keys": []}
        assert heads[0].startswith(b"GET /keys?a=1 HTTP/1.1\r\n")
        assert f"\r\nHost: keys.example:{port}\r\n".encode() in heads[0]
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await Fetcher([]).get(f"https://other.example:{port}/keys")


async def test_no_redirect_is_followed(issuer: Issuer) -> None:
    issuer.pages["/moved"] = (302, issuer.jwks_uri.encode())
    with pytest.raises(FetchFailed, match="302"):
        await Fetcher([issuer.url]).get(f"{issuer.url}/moved")
    assert issuer.requests == {"/moved": 1}


async def test_an_answer_has_a_bound(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", 1000)
    issuer.pages["/long"] = b"[" + b" " * 2000 + b"]"
    with pytest.raises(FetchFailed, match="1000 bytes"):
        await Fetcher([issuer.url]).get(f"{issuer.url}/long")


async def test_a_server_that_never_answers(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(FetchFailed, match="Timeout"):
            await Fetcher([url]).get(url)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name has these addresses."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def resolve(host: Any, port: Any, **options: Any) -> Any:
        if host not in addresses:
            return [each for address in addresses for each in await real(address, port, **options)]
        return await real(host, port, **options)

    monkeypatch.setattr(loop, "getaddrinfo", resolve)


@asynccontextmanager
async def tls_server(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str
) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server with a certificate for the name, which authenticators trust; and what it was sent."""
    certificate, server_side = certified(folder, name)
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(fetching, "_certificates", lambda: trusting)
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{"keys": []}')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server_side) as server:
        yield server.sockets[0].getsockname()[1], heads


def certified(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "certificate.pem", folder / "key.pem"
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(public, private)
    return public, server_side
