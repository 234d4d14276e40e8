"""Session ids: how they are made, and what can be one.

Source: the guide's chapter "Session ID Generation".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from django.utils.module_loading import import_string

from mcp_sessions.conf import DEFAULT_PATH, AppSettings
from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.identifiers import (
    ALPHABET,
    MAX_LENGTH,
    MIN_LENGTH,
    is_session_id,
    length_for,
    new_session_id,
)

Generator = str | Callable[[], str]


class SessionManager:
    """Makes an endpoint's session ids, as SESSION_ID_GENERATOR and SESSION_ID_ENTROPY say.

    What can be an id at all is SESSION_VALIDATION's: "strict" is what the generator makes, "lenient"
    any URL-safe text of 22 to 128 characters. Of a generator's own making is what its `pattern` (an
    attribute, a regular expression) matches as a whole, or, without one, what is as long as the
    first id that it made in this process.
    """

    def __init__(self, server: str = DEFAULT_PATH) -> None:
        self._options = AppSettings(server)

    def generate_session_id(self) -> str:
        """A new id. Raises ConfigurationError if the project's generator makes what cannot be one."""
        generator = self._options.SESSION_ID_GENERATOR
        if generator is None:
            return new_session_id(self._options.SESSION_ID_ENTROPY)
        session_id = _made_by(generator)
        if not self.validate_session_id(session_id):
            raise ConfigurationError(
                f"SESSION_ID_GENERATOR made {len(session_id)} characters that are not of its form. "
                "If they differ in length give it a `pattern`, and if it has one make it match."
            )
        return session_id

    def validate_session_id(self, session_id: str | None) -> bool:
        """Whether this can be an id of a session here; nothing else ever reaches the store."""
        if not isinstance(session_id, str) or not is_session_id(session_id):
            return False
        if self._options.SESSION_VALIDATION == "lenient":
            return True
        form = _form_of(self._options.SESSION_ID_GENERATOR, self._options.SESSION_ID_ENTROPY)
        return form.fullmatch(session_id) is not None


@lru_cache(maxsize=64)
def _form_of(generator: Generator | None, entropy_bits: float) -> re.Pattern[str]:
    """What every id looks like that is made so; asked for at each request."""
    if generator is None:
        return re.compile(f"[{ALPHABET}]{{{length_for(entropy_bits)}}}")
    pattern = getattr(_load(generator), "pattern", None)
    if pattern is None:
        return re.compile(f".{{{len(_made_by(generator))}}}")
    try:
        form = re.compile(pattern)
        form.fullmatch("")
    except (re.error, TypeError) as error:
        raise ConfigurationError(f"SESSION_ID_GENERATOR's pattern is none: {error}.") from error
    return form


def _made_by(generator: Generator) -> str:
    try:
        made: object = _load(generator)()
    except ConfigurationError:
        raise
    except Exception as error:
        # Not what the error says: it may quote an id.
        raise ConfigurationError(f"SESSION_ID_GENERATOR raised {type(error).__name__}.") from error
    return _usable(made)


def _load(generator: Generator) -> Callable[[], str]:
    try:
        found = import_string(generator) if isinstance(generator, str) else generator
    except ImportError as error:
        raise ConfigurationError(f"SESSION_ID_GENERATOR: {error}") from error
    if not callable(found):
        raise ConfigurationError(f"SESSION_ID_GENERATOR: {generator} is not callable.")
    return found


def _usable(made: object) -> str:
    """What a generator made, if it can be an id; else what is wrong with it is said, and not the id."""
    if not isinstance(made, str):
        raise ConfigurationError(
            f"SESSION_ID_GENERATOR made a value of type {type(made).__name__}; an id is a str."
        )
    if not MIN_LENGTH <= len(made) <= MAX_LENGTH:
        raise ConfigurationError(
            f"SESSION_ID_GENERATOR made {len(made)} characters; an id has {MIN_LENGTH} to {MAX_LENGTH}."
        )
    if not is_session_id(made):
        raise ConfigurationError("SESSION_ID_GENERATOR made more than A-Z, a-z, 0-9, - and _.")
    return made
