"""The server with everything that it offers beside its tools: resources, their updates, prompts and completion."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.tools import Tool
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    DiscoverResult,
    EmptyResult,
    GetPromptResult,
    Prompt,
    RequestParams,
    Resource,
    ResourceTemplate,
    ResourceTemplateReference,
    SetLevelRequestParams,
    SubscribeRequestParams,
    UnsubscribeRequestParams,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import AnyUrl

from aither_rings_mcp.domain.access import Grant
from aither_rings_mcp.entrypoints.mcp_prompts import Prompts
from aither_rings_mcp.entrypoints.mcp_protocol import Ctx, RingServer
from aither_rings_mcp.entrypoints.mcp_resources import LOG, OPERATION, PLAN, STATE, Resources
from aither_rings_mcp.entrypoints.mcp_updates import Updates

if TYPE_CHECKING:
    from aither_rings_mcp.manager.ring_manager import RingManager

log = logging.getLogger(__name__)

#: What the protocol lets one completion hold.
_MOST_VALUES = 100


class SurfaceServer(RingServer):
    """An MCP server with the rings' tools, resources and prompts."""

    def __init__(self, manager: RingManager, tools: list[Tool], grant: Grant, *, look_s: float, **options: Any) -> None:
        self._rings = manager
        self._resources = Resources(manager, grant)
        self._prompts = Prompts(manager.settings)
        updates = Updates(manager, self._resources, look_s)
        super().__init__(tools, subscriptions=updates, **options)
        serves = self._lowlevel_server.add_request_handler
        serves("resources/subscribe", SubscribeRequestParams, updates.on_subscribe)
        serves("resources/unsubscribe", UnsubscribeRequestParams, updates.on_unsubscribe)
        serves("completion/complete", CompleteRequestParams, self._complete)
        serves("server/discover", RequestParams, self._discovered)
        serves("logging/setLevel", SetLevelRequestParams, self._takes_level)

    async def list_resources(self) -> list[Resource]:
        return self._resources.listed()

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        return self._resources.templates()

    async def read_resource(self, uri: AnyUrl | str, context: Ctx | None = None) -> Iterable[ReadResourceContents]:
        try:
            return [await self._resources.read(str(uri))]
        except MCPError:
            raise
        except Exception as error:
            # An older client would be told what it says.
            log.exception("a resource could not be read")
            raise MCPError(INTERNAL_ERROR, "This is a bug, described in the server's log on stderr.") from error

    async def list_prompts(self) -> list[Prompt]:
        return self._prompts.listed()

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Ctx | None = None
    ) -> GetPromptResult:
        return self._prompts.get(name, arguments or {})

    async def _complete(self, ctx: ServerRequestContext[Any, Any], params: CompleteRequestParams) -> CompleteResult:
        """Names that begin with what was typed; none for what takes no names."""
        argument = params.argument
        if isinstance(params.ref, ResourceTemplateReference):
            known = self._known_in(params.ref.uri, argument.name)
        else:
            known = self._prompts.known(params.ref.name, argument.name)
        fit = [name for name in known if name.startswith(argument.value)]
        more = len(fit) > _MOST_VALUES
        return CompleteResult(completion=Completion(values=fit[:_MOST_VALUES], total=len(fit), has_more=more))

    def _known_in(self, template: str, variable: str) -> tuple[str, ...]:
        match (template, variable):
            case (s, "ring") if s == STATE:
                return tuple(self._rings.settings.rings)
            case (s, "id") if s in {OPERATION, LOG}:
                return self._rings.recent_operations()
            case (s, "id") if s == PLAN:
                return self._rings.waiting_plan_ids()
            case _:
                return ()

    async def _takes_level(self, ctx: ServerRequestContext[Any, Any], params: SetLevelRequestParams) -> EmptyResult:
        """Any level will do: what there is to tell comes as progress, results and errors, never as log messages."""
        return EmptyResult()

    async def _discovered(self, ctx: ServerRequestContext[Any, Any], params: RequestParams) -> DiscoverResult:
        """What the server can do. Its lists never change while it runs, so it does not promise to tell of that.

        Levels of logging are the handshake era's, and no capability here.
        """
        can = self._lowlevel_server.get_capabilities(protocol_version=ctx.protocol_version)
        settled: dict[str, Any] = {
            name: part.model_copy(update={"list_changed": False})
            for name in ("tools", "prompts", "resources")
            if (part := getattr(can, name)) is not None
        }
        return DiscoverResult(
            supported_versions=list(MODERN_PROTOCOL_VERSIONS),
            capabilities=can.model_copy(update={**settled, "logging": None}),
            instructions=self.instructions,
        )
