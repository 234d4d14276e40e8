"""The example project: a helpdesk whose tickets language models can work on."""

from example_project.celery import app as celery_app

__all__ = ["celery_app"]
