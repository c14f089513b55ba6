// The article's calls through the public TypeScript SDK: node article.mjs COMMAND ARGUMENT...
// Prints one JSON document of what came back. The SDK itself checks every result against its output schema.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const CALLS = [
  ["ring_health", { ring: "prod" }],
  ["ring_promote", { source: "dev", target: "staging" }],
  ["ring_promote", { source: "staging", target: "prod" }],
  ["ring_history", { ring: "prod", limit: 5 }],
  ["ring_rollback", { ring: "prod" }],
  ["ring_status", {}],
  ["ring_plan", { source: "staging", target: "prod" }],
  ["ring_operation", { operation_id: "op-1", include_log: true }],
  ["ring_promote", { source: "dev", target: "staging", dryrun: true }],
];

const [command, ...args] = process.argv.slice(2);
const client = new Client({ name: "article", version: "1.0.0" });
await client.connect(new StdioClientTransport({ command, args, env: process.env }));

const { tools } = await client.listTools();
const results = [];
let progress = 0;
for (const [name, given] of CALLS) {
  const options = { onprogress: () => progress++ };
  results.push({ name, given, result: await client.callTool({ name, arguments: given }, undefined, options) });
}
console.log(JSON.stringify({
  server: client.getServerVersion(),
  instructions: client.getInstructions(),
  tools: tools.map((tool) => tool.name),
  progress,
  results,
}));
await client.close();
