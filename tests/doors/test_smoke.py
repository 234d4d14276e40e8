from tests.doors.conftest import OpenClient
async def test_echo(connect: OpenClient) -> None:
    c = await connect()
    assert await c.call("echo", {"text": "hi"}) == "hi"
    assert await c.call("count_sessions") == "1"
    assert await c.call("acount_sessions") == "1"
