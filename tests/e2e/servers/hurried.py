"""The example's application, which soon gives up a client that takes nothing once its stream is over."""

from mcp_sessions import backpressure

backpressure.OVER_SECONDS = 0.5

from example_project.asgi import application  # noqa: E402

__all__ = ["application"]
