"""The end-to-end settings, with the view that Prometheus asks."""

from tests.e2e_settings import *  # noqa: F403

ROOT_URLCONF = "tests.e2e.metrics.urls"
