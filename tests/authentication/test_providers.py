"""The tests of projects that are their own authorization servers, in a process that has these apps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mcp_sessions.exceptions import ConfigurationError
from mcp_sessions.security.authentication import AllauthTokens, OAuthToolkitTokens

FOLDER = Path(__file__).parent / "providers"


def test_their_tokens_are_accepted_as_they_must_be() -> None:
    if not os.environ.get("CI"):
        pytest.importorskip("oauth2_provider")
        pytest.importorskip("allauth")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nomigrations", str(FOLDER)],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "DJANGO_SETTINGS_MODULE": "tests.authentication.providers.settings",
        },
        cwd=FOLDER.parents[2],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    assert " passed" in run.stdout and "failed" not in run.stdout


@pytest.mark.parametrize("authenticator", [OAuthToolkitTokens, AllauthTokens])
def test_they_need_their_app(authenticator: type[OAuthToolkitTokens | AllauthTokens]) -> None:
    with pytest.raises(ConfigurationError, match="INSTALLED_APPS"):
        authenticator("/mcp")
