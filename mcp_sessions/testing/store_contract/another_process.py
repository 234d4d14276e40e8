"""The other process of ProcessContract: it makes the same store, and appends to a stream in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from functools import reduce
from importlib import import_module
from typing import Any

import django
from django.db import connections


def main(made: str) -> None:
    given = json.loads(made)
    django.setup()
    _use(given["databases"])
    from mcp_sessions.testing.store_contract.processes import COUNT, append

    module, name, options = given["store"]
    found: Any = reduce(getattr, name.split("."), import_module(module))
    store = found(**options)
    sys.stdout.write("it begins\n")
    sys.stdout.flush()
    sys.stdout.write(json.dumps([append(store, given["stream"]) for _ in range(COUNT)]))


def _use(databases: Mapping[str, str]) -> None:
    """Use the databases of the tests, whose names the settings do not have."""
    for alias, name in databases.items():
        connections[alias].settings_dict["NAME"] = name


if __name__ == "__main__":
    main(sys.argv[1])
