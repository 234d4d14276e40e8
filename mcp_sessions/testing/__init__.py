"""For the tests of a project: clients against the mounted app in the test's own process.

No server is started and no port is opened. Requests go through the mount as under an ASGI server, streams
included, and the official SDK's client does the protocol.
"""

from mcp_sessions.testing.app import http_client, running_app, url_of
from mcp_sessions.testing.clients import ConnectedClient, accept, connect, decline
from mcp_sessions.testing.guide import GuideStream, open_guide_stream
from mcp_sessions.testing.sync import SyncClient, connect_sync
from mcp_sessions.testing.transport import StreamingTransport

__all__ = [
    "ConnectedClient",
    "GuideStream",
    "StreamingTransport",
    "SyncClient",
    "accept",
    "connect",
    "connect_sync",
    "decline",
    "http_client",
    "open_guide_stream",
    "running_app",
    "url_of",
]
