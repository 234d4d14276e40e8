"""What a method sends to Redis and makes of the answer, whichever client sends it.

A method is written as a generator: it yields commands and is sent their answers. `method` makes the plain
method of it, which runs it through the blocking client. The async variants are in `stores/base`: they call
the store's `arun`, which finds the generator (`steps`) and runs it through the loop's own client.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import wraps
from itertools import islice
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from redis.exceptions import ConnectionError, NoScriptError, RedisError, ResponseError, TimeoutError

from mcp_sessions.exceptions import ConfigurationError, InvalidSessionData, StoreUnavailable
from mcp_sessions.stores.redis.scripts import Script, script
from mcp_sessions.stores.redis.values import ERRORS, Argument, argument

R = TypeVar("R")
T = TypeVar("T")
P = ParamSpec("P")

Command = tuple[str | int, ...]
Steps = Generator[Command, Any, R]

CHUNK: Final = 300
"""Things named in one script: while it runs, every other client waits."""

NO_CLUSTER: Final = (
    "RedisSessionStore does not work with Redis Cluster: its scripts use keys of several slots. "
    "Give it one server, with replicas if you like."
)
_CLUSTER_ERRORS: Final = ("CLUSTERDOWN", "MOVED", "CROSSSLOT", "cluster node")
_LENGTH_ERRORS: Final = ("invalid bulk length", "invalid multibulk length", "exceeds maximum allowed size")
"""Errors for what is longer than Redis ever takes (proto-max-bulk-len)."""


LEAST_LIMIT: Final = 1024 * 1024
"""Redis takes no smaller proto-max-bulk-len."""
USUAL_LIMIT: Final = 512 * 1024 * 1024
"""For a server that does not say its own. CONFIG is often forbidden."""


class RunsSteps(Protocol):
    key_prefix: str

    def run(self, steps: Steps[R]) -> R: ...


S = TypeVar("S", bound=RunsSteps)


def method(steps: Callable[Concatenate[S, P], Steps[R]]) -> Callable[Concatenate[S, P], R]:
    """The plain method that a generator stands for."""

    @wraps(steps)
    def run(store: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return store.run(steps(store, *args, **kwargs))

    run.steps = steps  # type: ignore[attr-defined]
    return run


def run_repeatable(store: RunsSteps, name: str, *arguments: Argument) -> Steps[Any]:
    """Run a script that may as well run twice: one that reads, or writes the same again.

    It is sent again if its connection broke, which may have been older than this Redis.
    """
    try:
        return (yield from _sent(store, name, arguments))
    except ConnectionError:
        try:
            return (yield from _sent(store, name, arguments))
        except RedisError as error:
            raise failure(error) from error
    except RedisError as error:
        raise failure(error) from error


def run_once(store: RunsSteps, name: str, *arguments: Argument) -> Steps[Any]:
    """Run a script that must not run twice. If its connection broke, it is unknown whether it did."""
    try:
        return (yield from _sent(store, name, arguments))
    except RedisError as error:
        raise failure(error) from error


def _sent(store: RunsSteps, name: str, arguments: tuple[Argument, ...]) -> Steps[Any]:
    found: Script = script(name)
    rest = (0, store.key_prefix, *map(argument, arguments))
    try:
        return (yield "EVALSHA", found.sha, *rest)
    except NoScriptError:
        return (yield "EVAL", found.source, *rest)
    except ConnectionError as error:
        if (yield from is_too_long(rest)):
            raise refusal(error) from error
        raise


def is_too_long(arguments: Iterable[str | int]) -> Steps[bool]:
    """Whether an argument is longer than Redis takes: it may cut the connection before it has said so.

    Redis is asked only about what may be too long.
    """
    longest = max(map(_length, arguments))
    if longest <= LEAST_LIMIT:
        return False
    try:
        _, limit = yield "CONFIG", "GET", "proto-max-bulk-len"
    except (RedisError, ValueError):
        limit = USUAL_LIMIT
    return longest > int(limit)


def _length(argument: str | int) -> int:
    return len(argument.encode("utf-8", ERRORS)) if isinstance(argument, str) else 0


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, CHUNK)):
        yield some


def flat(pairs: Iterable[Iterable[Argument]]) -> Iterator[Argument]:
    """Their parts, one after the other."""
    return (part for pair in pairs for part in pair)


def failure(error: RedisError) -> Exception:
    """What a method raises for it, with what Redis said."""
    if isinstance(error, ResponseError) and any(text in str(error) for text in _CLUSTER_ERRORS):
        return ConfigurationError(NO_CLUSTER)
    if isinstance(error, ResponseError) and any(text in str(error) for text in _LENGTH_ERRORS):
        return refusal(error)
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"The session store does not answer: {error}")
    if isinstance(error, ConnectionError):
        return StoreUnavailable(f"The session store cannot be reached: {error}")
    return StoreUnavailable(f"The session store refuses: {error}")


def refusal(error: RedisError) -> InvalidSessionData:
    return InvalidSessionData(f"Redis does not take this, it is too long: {error}")
