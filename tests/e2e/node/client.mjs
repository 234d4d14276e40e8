// The official TypeScript client, driven line by line: a JSON command in, a JSON answer out.
//
//   {"id": 1, "do": "call", "name": "search_tickets", "arguments": {"query": "printer"}}
//   {"id": 1, "result": {...}, "heard": {...}}
//
// `heard` is everything that came from the server so far without being asked for. It also comes by
// itself, with no id, when the server says something between two commands.

import { createInterface } from "node:readline";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  ResourceUpdatedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

const { url, answer, reply, roots } = JSON.parse(process.argv[2]);
const heard = { progress: [], elicited: [], sampled: [], logs: [], updated: [], errors: [] };

const client = new Client(
  { name: "typescript", version: "1" },
  { capabilities: { elicitation: {}, sampling: {}, roots: {} } },
);
const transport = new StreamableHTTPClientTransport(new URL(url));

function hear(what, value) {
  heard[what].push(value);
  write({});
}

client.onerror = (error) => hear("errors", String(error));
client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
  hear("elicited", params.message);
  return { action: "accept", content: answer };
});
client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
  hear("sampled", JSON.stringify(params.messages));
  return { role: "assistant", model: "a model", content: { type: "text", text: reply } };
});
client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: roots.map((uri) => ({ uri })) }));
client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => hear("logs", params.data));
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => hear("updated", params.uri));

const commands = {
  async connect() {
    await client.connect(transport);
    return { session_id: transport.sessionId ?? null, version: transport.protocolVersion };
  },
  async tools() {
    return (await client.listTools()).tools.map((tool) => tool.name);
  },
  async call({ name, arguments: given }) {
    const onprogress = ({ progress }) => hear("progress", progress);
    return client.callTool({ name, arguments: given }, undefined, { onprogress });
  },
  async setLevel({ level }) {
    return client.setLoggingLevel(level);
  },
  async subscribe({ uri }) {
    return client.subscribeResource({ uri });
  },
  async end() {
    await transport.terminateSession();
    await client.close();
    return null;
  },
};

function write(message) {
  process.stdout.write(JSON.stringify({ ...message, heard }) + "\n");
}

const lines = createInterface({ input: process.stdin });
lines.on("line", async (line) => {
  const { id, do: name, ...given } = JSON.parse(line);
  try {
    write({ id, result: (await commands[name](given)) ?? null });
  } catch (error) {
    write({ id, error: String(error), code: error.code ?? null });
  }
});
// Whoever drives this closes its end, and then nothing may keep the process: not even an open stream.
lines.on("close", () => process.exit(0));
