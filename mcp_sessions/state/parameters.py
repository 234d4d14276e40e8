"""`session: Session` as a parameter of a tool.

Server libraries make a tool's schema of its signature. In it the parameter is a handle, a text that
names a session; what they pass on is a RequestedSession, and the tool gets the session itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

FORMAT: Final = "mcp-session"
"""The format by which a handle is found in a tool's schema (JSON Schema, 7.2.3)."""
DESCRIPTION: Final = (
    "The session whose state this tool uses: the handle that open_session returned. "
    "Pass the same one in every call that belongs together."
)


@dataclass(frozen=True, slots=True)
class RequestedSession:
    """The session that a call asks for: the one with this handle, or, without one, its caller's own."""

    handle: str | None = None


class SessionParameter:
    """What pydantic needs to know about a parameter whose value is a session."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        # Late: Django imports this package before its apps are ready.
        from pydantic import Field
        from pydantic_core import core_schema

        text = Annotated[str, Field(description=DESCRIPTION, json_schema_extra={"format": FORMAT})]
        wanted = core_schema.no_info_plain_validator_function(
            requested, json_schema_input_schema=handler.generate_schema(text)
        )
        return core_schema.with_default_schema(wanted, default_factory=RequestedSession)


def requested(value: object) -> object:
    """The value of the parameter, as a tool's arguments are validated."""
    if value is None or isinstance(value, str):
        return RequestedSession(value or None)
    if isinstance(value, SessionParameter | RequestedSession):
        return value
    raise ValueError("A session is named by its handle, which is a string.")


def session_parameters(schema: Mapping[str, Any]) -> list[str]:
    """The names of the parameters in a tool's schema whose values are sessions."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return []
    return [name for name, each in properties.items() if _is_handle(each)]


def _is_handle(schema: object) -> bool:
    return isinstance(schema, Mapping) and schema.get("format") == FORMAT
