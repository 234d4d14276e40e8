"""A process that purges, as cron's does, and says in JSON what that took."""

from __future__ import annotations

import json
import time

import django


def main() -> None:
    django.setup()

    from mcp_sessions import lifecycle
    from tests.bench.measuring import Queries, transactions

    batches: list[int] = []
    queries, began = Queries(), time.perf_counter()
    with transactions() as lengths:
        purged = lifecycle.purge(batches.append)
    told = {
        "seconds": time.perf_counter() - began,
        "purged": purged,
        "batches": len(batches),
        "queries": queries.count,
        "transactions": len(lengths),
        "longest": max(lengths, default=0.0),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
