// The official TypeScript client 1.x, driven by commands: see lines.mjs.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { answers, hear, options, serve, url } from "./lines.mjs";

const client = new Client(
  { name: "typescript", version: "1" },
  { capabilities: { elicitation: {}, sampling: {}, roots: {} } },
);
// "sse" is the transport of 2024-11-05.
const Transport = options.transport === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
const transport = new Transport(new URL(url));

client.onerror = (error) => hear("errors", String(error));
client.setRequestHandler(ElicitRequestSchema, ({ params }) => answers.elicit(params));
client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => answers.sample(params));
client.setRequestHandler(ListRootsRequestSchema, answers.listRoots);
client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => hear("logs", params.data));
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => hear("updated", params.uri));

serve({
  async connect() {
    await client.connect(transport);
    const version = transport.protocolVersion ?? transport._protocolVersion;
    return { session_id: transport.sessionId ?? null, version };
  },
  async tools() {
    return (await client.listTools()).tools.map((tool) => tool.name);
  },
  async call({ name, arguments: given }) {
    const onprogress = ({ progress }) => hear("progress", progress);
    return client.callTool({ name, arguments: given }, undefined, { onprogress });
  },
  async subscribe({ uri }) {
    return client.subscribeResource({ uri });
  },
  async end() {
    await transport.terminateSession?.();
    await client.close();
    return null;
  },
});
