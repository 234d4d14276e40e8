"""The end-to-end settings of a project that says nothing about logging."""

from tests.e2e_settings import *  # noqa: F403

LOGGING: dict[str, object] = {}
