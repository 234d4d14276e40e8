"""One of several processes that share a file: what it does is said by the lines it reads and writes.

It writes the key of a session that it opened, reads what others opened, and adds to it.
"""

from __future__ import annotations

import os
import sys

from tests.harness.launch import die_with_parent

COUNT = 40


def main(path: str, name: str) -> None:
    from mcp_sessions.identifiers import new_lease
    from mcp_sessions.records import Append
    from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, post, put
    from tests.stores.files import FileSessionStore

    store = FileSessionStore(path)
    print(put(store, owner=name).key, flush=True)
    key, stream, another = input().split()
    assert post(store, another, f'"from {name}"')
    for n in range(COUNT):
        store.append([Append(stream, messages(f"{name} {n}"))])
        token = new_lease()
        while (data := store.lease(key, token, NOW, NOW + HOUR)) is None:
            pass
        store.release(key, token, {"count": data.get("count", 0) + 1})


if __name__ == "__main__":
    die_with_parent()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    main(*sys.argv[1:])
