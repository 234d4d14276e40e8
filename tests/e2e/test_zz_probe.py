import asyncio, json
from tests.e2e.test_guide_browser import *
def test_probe(server):
    async def scenario():
        async with open_page(server) as page:
            sid = await page.session_id()
            for _ in range(3):
                await page.page.evaluate(f"resumeSession('{sid}')")
            await asyncio.sleep(12)
            gets=[r for r in page.sent if r.method=="GET"]
            print("GETS", len(gets), await states(page))
            print(page.said)
    run(scenario())
