"""What is held back while a stream is attached, and until when."""

from __future__ import annotations

from mcp_sessions.delivery.delivered import Delivered


async def test_a_stream_that_is_attached_twice_at_once_is_attached_until_both_are_done() -> None:
    delivered = Delivered(lambda moved: None)
    async with delivered.attaching("stream"):
        async with delivered.attaching("stream"), delivered.attaching("another"):
            assert delivered.is_attaching("stream")
        assert delivered.is_attaching("stream")
        assert not delivered.is_attaching("another")
    assert not delivered.is_attaching("stream")
