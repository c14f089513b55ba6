"""A server of the SDK alone, with one tool that answers at once: what the protocol itself costs.

python -m benchmarks.bare_server PORT
"""

from __future__ import annotations

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare", log_level="WARNING")


@server.tool()
def status() -> dict[str, str]:
    """Answers at once."""
    return {"state": "running"}


if __name__ == "__main__":
    server.run("streamable-http", port=int(sys.argv[1]))
