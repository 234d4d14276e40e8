"""The Celery application: `celery -A example_project worker` and `celery -A example_project beat`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

app = Celery("example_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_configure.connect
def prepare(sender: Celery, **kwargs: Any) -> None:
    """Add what is to be done regularly, and make the folders of the broker that needs no server.

    Not at import: importing any module of this package imports this one, a settings module in the
    middle of its own import included, and the schedule is read from the settings.
    """
    from mcp_sessions.tasks import beat_schedule

    sender.conf.beat_schedule.update(beat_schedule())
    options = sender.conf.broker_transport_options
    for name in ("data_folder_in", "data_folder_out", "control_folder"):
        if folder := options.get(name):
            Path(folder).mkdir(parents=True, exist_ok=True)
    Path(sender.conf.beat_schedule_filename).parent.mkdir(parents=True, exist_ok=True)
