"""What fuzzing begins with: requests as text, and words that are worth trying."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.fuzz.settings import TOKENS
from tests.fuzz.target import LATEST, Request

ME: Final = f"Authorization: Bearer {TOKENS['me']}"
JSON: Final = "Content-Type: application/json"
BOTH: Final = "Accept: application/json, text/event-stream"
OWN: Final = "Mcp-Session-Id: $SESSION"
METHODS: Final = ("POST", "DELETE", "GET")
PATHS: Final = ("/mcp", "/handshake")


def request_of(data: bytes) -> Request | None:
    """The request that an input stands for; None if it has no request line."""
    head, _, body = data.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    method, _, target = first.partition(" ")
    path, _, query = target.partition("?")
    if method not in METHODS or path not in PATHS:
        return None
    named = (line.partition(": ") for line in lines)
    headers = [(name, value) for name, _, value in named if is_token(name)]
    return Request(method, path, query, headers, body)


def is_token(name: str) -> bool:
    """Whether a server lets it through as the name of a header."""
    return bool(name) and name.isascii() and all(each.isalnum() or each in "-_" for each in name)


def message(method: str, params: Any = None, id: Any = 1) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "method": method}
    return {**body, **({} if params is None else {"params": params}), **({} if id is None else {"id": id})}


def text(body: Any, *headers: str, line: str = "POST /mcp") -> bytes:
    encoded = body if isinstance(body, str) else json.dumps(body)
    return "\n".join([line, *headers, "", encoded]).encode()


def call(name: str, arguments: Any, **meta: Any) -> dict[str, Any]:
    return message("tools/call", {"name": name, "arguments": arguments, **({"_meta": meta} if meta else {})})


HELLO: Final = message(
    "initialize",
    {"protocolVersion": LATEST, "capabilities": {"roots": {}}, "clientInfo": {"name": "f", "version": "1"}},
)
MODERN: Final = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "f", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
OTHERS: Final[list[Any]] = [
    call("echo", {"text": "a"}),
    call("add", {"a": 1, "b": 2.5}),
    call("count", {"basket": {"owner": "a", "items": ["b"]}}),
    call("report", {}, progressToken="t"),
    call("recall", {}),
    call("fail", {}),
    message("tools/list", {"cursor": "x"}),
    message("resources/read", {"uri": "note://a"}),
    message("resources/subscribe", {"uri": "note://a"}),
    message("resources/unsubscribe", {"uri": "note://a"}),
    message("prompts/get", {"name": "greet", "arguments": {"name": "a"}}),
    message("logging/setLevel", {"level": "debug"}),
    message("ping"),
    message("server/discover", {}),
    message("completion/complete", {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {}}),
    message("notifications/initialized", None, None),
    message("notifications/cancelled", {"requestId": 1, "reason": "x"}, None),
    message("notifications/progress", {"progressToken": 1, "progress": 2}, None),
    {"jsonrpc": "2.0", "id": "ask-1", "result": {}},
    {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}},
    [message("ping"), message("ping", id=2)],
    "[[[[",
    "{}",
    "",
]
SEEDS: Final[list[bytes]] = [
    text(HELLO, ME, JSON, BOTH),
    *(text(each, ME, JSON, BOTH, OWN, f"MCP-Protocol-Version: {LATEST}") for each in OTHERS),
    text([message("ping"), message("ping", id=2)], ME, JSON, BOTH, OWN, "MCP-Protocol-Version: 2025-03-26"),
    text(call("recall", {}), ME, JSON, BOTH, "Mcp-Session-Id: $STRANGER"),
    text(message("ping"), ME, JSON, "X-Session-ID: $SESSION", "Accept: application/json"),
    text(message("ping"), ME, JSON, BOTH, line="POST /mcp?session_id=$SESSION"),
    text(message("ping"), ME, JSON, BOTH, line="POST /mcp?sse_session=$SESSION"),
    text(message("ping"), JSON, BOTH, OWN),
    text("", ME, OWN, line="DELETE /mcp"),
    text("", ME, OWN, "Accept: text/event-stream", line="GET /mcp"),
    text("", ME, "Accept: text/event-stream", line="GET /mcp"),
    *(
        text(
            message("tools/list", {"_meta": MODERN}),
            *(ME, JSON, BOTH, "MCP-Protocol-Version: 2026-07-28", "Mcp-Method: tools/list"),
            line=f"POST {path}",
        )
        for path in PATHS
    ),
]
DICTIONARY: Final = (
    *('"jsonrpc":"2.0"', '"method":"', '"params":{', '"id":', '"result":{}', '"error":{"code":1}', "null"),
    *('"_meta":{', '"progressToken":', '"requestId":', '"arguments":{', '"uri":"note://', '"cursor":'),
    *("tools/call", "tools/list", "initialize", "ping", "notifications/", "resources/", "prompts/get"),
    *("2024-11-05", "2025-03-26", "2025-06-18", LATEST, "2026-07-28", "$SESSION", "$KEY", "$STRANGER"),
    *("Mcp-Session-Id: ", "X-Session-ID: ", "Last-Event-ID: ", "MCP-Protocol-Version: ", "Origin: "),
    *("X-Forwarded-For: ", "Content-Type: ", "Accept: ", "Authorization: Bearer ", "Host: ", "Upgrade: "),
    *("text/event-stream", "application/json", "q=0", "*/*", "session_id=", "sse_session=", "1e999", "NaN"),
)
