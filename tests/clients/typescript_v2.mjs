// The same through the public TypeScript SDK v2: node typescript_v2.mjs CALLS stdio COMMAND ARGUMENT... | http URL
// ERA is its negotiation mode: `auto` speaks 2026-07-28 where the server does, `legacy` shakes hands as before.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [calls, door, where, ...args] = process.argv.slice(2);
const requestInit = { headers: { Authorization: `Bearer ${process.env.RINGS_TOKEN}` } };
const transports = {
  stdio: () => new StdioClientTransport({ command: where, args, env: process.env }),
  http: () => new StreamableHTTPClientTransport(new URL(where), { requestInit }),
};
const client = new Client({ name: "article", version: "1.0.0" }, { versionNegotiation: { mode: process.env.ERA } });
await client.connect(transports[door]());

const { tools } = await client.listTools();
const results = [];
let progress = 0;
for (const [name, given] of JSON.parse(calls)) {
  results.push(await client.callTool({ name, arguments: given }, { onprogress: () => progress++ }));
}
const server = client.getServerVersion();
const protocol = client.getNegotiatedProtocolVersion();
console.log(JSON.stringify({ server, protocol, tools: tools.map((tool) => tool.name), progress, results }));
await client.close();
