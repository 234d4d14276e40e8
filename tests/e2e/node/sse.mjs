// The official TypeScript client over the transport of 2024-11-05: prints what it got, as JSON.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";

const progress = [];
const client = new Client({ name: "typescript", version: "1" });
await client.connect(new SSEClientTransport(new URL(process.argv[2])));
const { tools } = await client.listTools();
const report = await client.callTool({ name: "export_report", arguments: { steps: 3, delay: 0.01 } });
// Over this transport the client forgets a report that comes in one piece with the result, so the tool
// goes on when the report was heard.
const replies = [];
const counted = await client.callTool({ name: "count_aloud", arguments: { n: 3 } }, undefined, {
  onprogress: (told) => {
    progress.push(told.progress);
    replies.push(client.callTool({ name: "heard", arguments: {} }));
  },
});
await Promise.all(replies);
await client.close();
const [text, count] = [report, counted].map((result) => result.content[0].text);
const answer = { tools: tools.map((tool) => tool.name), report: text, count, progress };
process.stdout.write(JSON.stringify(answer), () => process.exit(0));
