"""Requests that nobody would send on purpose, and what must hold whatever is sent."""
