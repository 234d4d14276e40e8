"""Another process of the project, a worker or a command: sends what it is told to on its standard input."""

from __future__ import annotations

import json
import sys
from typing import Any

import django


def main() -> None:
    django.setup()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        try:
            told: dict[str, Any] = {"sent": send(json.loads(line))}
        except Exception as error:
            told = {"sent": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)


def send(order: dict[str, Any]) -> bool:
    from mcp_sessions import send_resource_updated, send_session_message
    from mcp_sessions.conf import served_paths

    if "uri" in order:
        # Each number has a resource of its own, which is known at one endpoint only.
        for path in served_paths():
            send_resource_updated(order["uri"], server=path)
    else:
        send_session_message(order["key"], event=order["event"], data=order["data"])
    return True


if __name__ == "__main__":
    main()
