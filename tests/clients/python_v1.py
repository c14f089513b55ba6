"""The same through the public Python SDK v1: python python_v1.py CALLS stdio COMMAND ARGUMENT... | http URL | sse URL

It runs in an environment of its own, where `mcp` is the first major version. The SDK checks every result against its
output schema.
"""

import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack

from mcp import ClientSession, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


def transport(door, where, *args):
    headers = {"Authorization": f"Bearer {os.environ.get('RINGS_TOKEN')}"}
    if door == "stdio":
        return stdio_client(StdioServerParameters(command=where, args=list(args), env=dict(os.environ)))
    return {"http": streamablehttp_client, "sse": sse_client}[door](where, headers=headers)


async def main(calls, *door):
    progress = []

    async def heard(*told):
        progress.append(told)

    async with AsyncExitStack() as stack:
        read, write, *_ = await stack.enter_async_context(transport(*door))
        session = await stack.enter_async_context(ClientSession(read, write))
        opened = await session.initialize()
        tools = (await session.list_tools()).tools
        results = [await session.call_tool(name, given, progress_callback=heard) for name, given in json.loads(calls)]
    seen = {
        "server": opened.serverInfo.model_dump(),
        "tools": [tool.name for tool in tools],
        "progress": len(progress),
        "results": [result.model_dump(mode="json", by_alias=True, exclude_none=True) for result in results],
    }
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
