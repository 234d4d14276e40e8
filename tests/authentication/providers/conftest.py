"""These tests need other apps than the rest: tests/authentication/test_providers.py runs them."""

from __future__ import annotations

from django.conf import settings

collect_ignore_glob = [] if "oauth2_provider" in settings.INSTALLED_APPS else ["test_*.py"]
