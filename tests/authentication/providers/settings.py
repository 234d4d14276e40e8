"""Settings of a project that is its own authorization server, with either app that can be one."""

from __future__ import annotations

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as APPS
from tests.settings import MIDDLEWARE as USUAL
from tests.settings import sqlite

INSTALLED_APPS = [*APPS, "oauth2_provider", "allauth", "allauth.account", "allauth.idp.oidc"]
MIDDLEWARE = [*USUAL, "allauth.account.middleware.AccountMiddleware"]
DATABASES = {"default": sqlite("providers")}
OAUTH2_PROVIDER = {"SCOPES": {"read": "See", "write": "Change"}}
