// A client that is driven line by line: a JSON command in, a JSON answer out.
//
//   {"id": 1, "do": "call", "name": "search_tickets", "arguments": {"query": "printer"}}
//   {"id": 1, "result": {...}, "heard": {...}}
//
// `heard` is everything that came from the server so far without being asked for. It also comes by
// itself, with no id, when the server says something between two commands.

import { createInterface } from "node:readline";

export const { url, answer, reply, roots, ...options } = JSON.parse(process.argv[2]);
const heard = { progress: [], elicited: [], sampled: [], logs: [], updated: [], errors: [] };

export function hear(what, value) {
  heard[what].push(value);
  write({});
}

// What the client answers when it is asked.
export const answers = {
  elicit({ message }) {
    hear("elicited", message);
    return { action: "accept", content: answer };
  },
  sample({ messages }) {
    hear("sampled", JSON.stringify(messages));
    return { role: "assistant", model: "a model", content: { type: "text", text: reply } };
  },
  listRoots: () => ({ roots: roots.map((uri) => ({ uri })) }),
};

export function serve(commands) {
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
}

function write(message) {
  process.stdout.write(JSON.stringify({ ...message, heard }) + "\n");
}
