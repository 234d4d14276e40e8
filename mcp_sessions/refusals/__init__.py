"""Refused requests: the security log, its signal and metric, and what operators see of them."""

from mcp_sessions.refusals.reports import report_refusal

__all__ = ["report_refusal"]
