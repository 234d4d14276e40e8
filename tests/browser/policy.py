"""A policy that strict projects have: a page with an inline style or script breaks under it."""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

POLICY: Final = "default-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'"


class ContentSecurityPolicy(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.headers["Content-Security-Policy"] = POLICY
        return response
