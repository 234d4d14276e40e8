"""Databases of their own on PostgreSQL."""

from tests.e2e.operations.conftest import operated
from tests.e2e.workers.conftest import postgres_template

__all__ = ["operated", "postgres_template"]
