"""Whether the receivers of metrics can be made, and speak for every process."""

from __future__ import annotations

from typing import Final

from django.core.checks import CheckMessage, Error, Warning

from mcp_sessions.metrics import chosen, get_made

EXTRAS: Final = {
    "datadog": "statsd",
    "prometheus_client": "prometheus",
    "opentelemetry": "opentelemetry",
}
"""The library that a backend imports, and the extra that installs it."""


def check_metrics() -> list[CheckMessage]:
    made, entries = get_made(), chosen()
    failed = [_cannot_be_made(each.backend, each.error) for each in made if each.error is not None]
    twice = [
        _is_named_twice(entry["BACKEND"]) for number, entry in enumerate(entries) if entry in entries[:number]
    ]
    alone = [each.backend for each in made if each.metrics and not each.metrics.shared_by_processes]
    return [*failed, *twice] or [_is_of_one_process(backend) for backend in alone]


def _cannot_be_made(backend: str, error: Exception) -> CheckMessage:
    library = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and library in EXTRAS:
        hint = f'Install the app with its extra: pip install ".[{EXTRAS[library]}]", where its source is.'
        return Error(
            f"SESSION_METRICS needs {library}, which is not there.", hint=hint, id="mcp_sessions.E017"
        )
    hint = "BACKEND is the dotted path of a SessionMetrics, OPTIONS are the arguments of its constructor."
    return Error(f"{backend} of SESSION_METRICS cannot be made: {error}", hint=hint, id="mcp_sessions.E016")


def _is_named_twice(backend: str) -> CheckMessage:
    return Error(
        f"SESSION_METRICS names {backend} twice with the same OPTIONS.",
        hint="Everything would be counted twice: name it once.",
        id="mcp_sessions.E018",
    )


def _is_of_one_process(backend: str) -> CheckMessage:
    return Warning(
        f"SESSION_METRICS: {backend} counts in each process by itself, so a scrape shows only one of them.",
        hint="Set the environment variable PROMETHEUS_MULTIPROC_DIR to an empty directory that the processes "
        "share, or run one process and silence this.",
        id="mcp_sessions.W009",
    )
