"""`python -m aither_rings_mcp` is the MCP server."""

from aither_rings_mcp.entrypoints.mcp_server import main

if __name__ == "__main__":
    main()
