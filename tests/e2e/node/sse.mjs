// The official TypeScript client over the transport of 2024-11-05: prints what it got, as JSON.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";

const progress = [];
const client = new Client({ name: "typescript", version: "1" });
await client.connect(new SSEClientTransport(new URL(process.argv[2])));
const { tools } = await client.listTools();
const report = await client.callTool(
  { name: "export_report", arguments: { steps: 3, delay: 0.01 } },
  undefined,
  { onprogress: (told) => progress.push(told.progress) },
);
await client.close();
const answer = { tools: tools.map((tool) => tool.name), report: report.content[0].text, progress };
process.stdout.write(JSON.stringify(answer), () => process.exit(0));
