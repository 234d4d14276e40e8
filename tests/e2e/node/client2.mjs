// The official TypeScript client 2.x, driven by commands: see lines.mjs.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { answers, hear, options, serve, url } from "./lines.mjs";

const client = new Client(
  { name: "typescript", version: "2" },
  {
    capabilities: { elicitation: {}, sampling: {}, roots: {} },
    // Without this it does what it does by default.
    ...(options.mode ? { versionNegotiation: { mode: options.mode } } : {}),
  },
);
const transport = new StreamableHTTPClientTransport(new URL(url));

client.onerror = (error) => hear("errors", String(error));
client.setRequestHandler("elicitation/create", ({ params }) => answers.elicit(params));
client.setRequestHandler("sampling/createMessage", ({ params }) => answers.sample(params));
client.setRequestHandler("roots/list", answers.listRoots);
client.setNotificationHandler("notifications/message", ({ params }) => hear("logs", params.data));
client.setNotificationHandler("notifications/resources/updated", ({ params }) => hear("updated", params.uri));

serve({
  async connect() {
    await client.connect(transport);
    return { session_id: transport.sessionId ?? null, version: client.getNegotiatedProtocolVersion() };
  },
  async tools() {
    return (await client.listTools()).tools.map((tool) => tool.name);
  },
  async call({ name, arguments: given }) {
    const onprogress = ({ progress }) => hear("progress", progress);
    return client.callTool({ name, arguments: given }, { onprogress });
  },
  async subscribe({ uri }) {
    return client.subscribeResource({ uri });
  },
  async end() {
    await transport.terminateSession();
    await client.close();
    return null;
  },
});
