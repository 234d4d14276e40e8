"""Credentials that become invalid while a stream is open: the stream ends.

Each request is authenticated by itself. A stream stays open for long after its request, so its credential is
checked again: once per heartbeat, and at once when some process publishes that an owner's have changed.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from mcp_sessions.background import Outage, Periodic
from mcp_sessions.conf import app_settings
from mcp_sessions.delivery import get_hub
from mcp_sessions.exchange import Chunks, Exchange
from mcp_sessions.principals import Principal
from mcp_sessions.runtime import Runtime, current
from mcp_sessions.security.authentication import BaseAuthenticator

TOPIC: Final = "credentials"
"""What is published there is what changed: {"owner": …, "fingerprint": …}."""
CHECK_SECONDS: Final = 10.0
"""Seconds after which a check is given up: the other credentials are not to wait for it."""
AT_ONCE: Final = 8
"""Credentials that are checked at the same time."""

logger = logging.getLogger("mcp_sessions.lifecycle")


class Revocable(Protocol):
    """An open stream that can be ended since its credential is not valid any more."""

    @property
    def is_over(self) -> bool: ...

    def revoke(self) -> object: ...


def watch_credential(exchange: Exchange, stream: Chunks) -> None:
    """End the stream when the credential of its request becomes invalid."""
    if exchange.authenticator is None or not exchange.authenticator.can_end(exchange.principal):
        return
    revocable: Any = stream
    if hasattr(revocable, "revoke"):
        current().service(OpenCredentials).add(exchange.authenticator, exchange.principal, revocable)


async def publish_change(owner: str, fingerprint: str = "") -> None:
    """Have every process check the credentials of an owner whose streams it has open.

    One with this `fingerprint` is known to be invalid, and only that one is looked for.
    """
    hub = get_hub()
    await hub.topics.publish(TOPIC, json.dumps({"owner": owner, "fingerprint": fingerprint}))
    await hub.flush_notifications()


@dataclass(slots=True)
class Credential:
    """What one credential gave, and the streams that were opened with it."""

    authenticator: BaseAuthenticator
    principal: Principal
    streams: list[Revocable] = field(default_factory=list)

    def is_open(self) -> bool:
        self.streams = [each for each in self.streams if not each.is_over]
        return bool(self.streams)

    def revoke(self) -> None:
        logger.info(
            "%d streams end: the credential they were opened with is not valid any more", len(self.streams)
        )
        for stream in self.streams:
            stream.revoke()
        self.streams.clear()


class OpenCredentials:
    """The credentials of this process's open streams, by owner. All streams of a credential are one check."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._by_owner: dict[str, list[Credential]] = {}
        self._outage = Outage("check of credentials", expected=Exception)
        self._checking = Periodic(
            runtime,
            "check of credentials",
            self._check_all,
            lambda: app_settings.HEARTBEAT_SECONDS,
            while_needed=lambda: self._by_owner,
        )
        self._unsubscribe: Callable[[], None] | None = None

    def add(self, authenticator: BaseAuthenticator, principal: Principal, stream: Revocable) -> None:
        credentials = self._by_owner.setdefault(principal.owner, [])
        for each in credentials:
            if each.authenticator is authenticator and each.principal == principal:
                each.streams.append(stream)
                break
        else:
            credentials.append(Credential(authenticator, principal, [stream]))
        if self._unsubscribe is None:
            self._unsubscribe = get_hub().topics.subscribe(TOPIC, self._on_change)
        self._checking.start()

    async def _check_all(self) -> None:
        await self._check(list(self._open()))
        if not self._by_owner and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _open(self) -> Iterator[Credential]:
        """Those with streams that are still open; the others are forgotten."""
        for owner, credentials in list(self._by_owner.items()):
            still = [each for each in credentials if each.is_open()]
            if still:
                self._by_owner[owner] = still
            else:
                del self._by_owner[owner]
            yield from still

    def _on_change(self, message: str) -> None:
        change = json.loads(message)
        credentials = list(self._by_owner.get(change["owner"], ()))
        if not change["fingerprint"]:
            self._runtime.spawn(self._check(credentials), "credentials changed")
        for each in credentials:
            if change["fingerprint"] and each.principal.fingerprint == change["fingerprint"]:
                each.revoke()

    async def _check(self, credentials: list[Credential]) -> None:
        for start in range(0, len(credentials), AT_ONCE):
            await asyncio.gather(*map(self._check_one, credentials[start : start + AT_ONCE]))

    async def _check_one(self, credential: Credential) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                is_current = await credential.authenticator.is_current(credential.principal)
        except Exception as error:
            # Nobody knows: the next request finds out, and so does the next heartbeat.
            self._outage.add(credential.authenticator, error)
            return
        self._outage.end(credential.authenticator)
        if not is_current:
            credential.revoke()
