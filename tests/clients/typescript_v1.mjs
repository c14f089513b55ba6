// Calls through the public TypeScript SDK v1: node typescript_v1.mjs CALLS stdio COMMAND ARGUMENT... | http URL | sse URL
// Prints one JSON document of what came back. The SDK itself checks every result against its output schema.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [calls, door, where, ...args] = process.argv.slice(2);
const requestInit = { headers: { Authorization: `Bearer ${process.env.RINGS_TOKEN}` } };
const transports = {
  stdio: () => new StdioClientTransport({ command: where, args, env: process.env }),
  http: () => new StreamableHTTPClientTransport(new URL(where), { requestInit }),
  sse: () => new SSEClientTransport(new URL(where), { requestInit }),
};
const client = new Client({ name: "article", version: "1.0.0" });
await client.connect(transports[door]());

const { tools } = await client.listTools();
const results = [];
let progress = 0;
for (const [name, given] of JSON.parse(calls)) {
  const options = { onprogress: () => progress++ };
  results.push(await client.callTool({ name, arguments: given }, undefined, options));
}
const server = client.getServerVersion();
console.log(JSON.stringify({ server, tools: tools.map((tool) => tool.name), progress, results }));
await client.close();
