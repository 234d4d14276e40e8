"""What operations cost with many sessions: `make bench-operations`, and docs/performance.md."""
