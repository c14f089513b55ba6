"""`smoke_tests`: a few requests to the running release, each with what it should answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

import anyio
from pydantic import Field

from aither_rings_mcp.domain.errors import RingError
from aither_rings_mcp.domain.model import Value
from aither_rings_mcp.domain.verdict import Evidence, FailedItem, Verdict
from aither_rings_mcp.gates.expectations import NoAnswer, Request, ask, failure, misses
from aither_rings_mcp.ports import Finding, GateContext

if TYPE_CHECKING:
    import httpx


class SmokeRequest(Request):
    """A request to a service by its name. `port` is the container's; without it, the service's own."""

    service: str
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    path: Annotated[str, Field(pattern="^/")] = "/"

    @property
    def name(self) -> str:
        return f"{self.service} {self.method} {self.path}"


class SmokeTests:
    """Asks side by side, `parallel` at a time, and tells of every request that failed."""

    version: ClassVar[str] = "1"

    class Options(Value):
        requests: Annotated[tuple[SmokeRequest, ...], Field(min_length=1)]
        parallel: Annotated[int, Field(ge=1, le=64)] = 4

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        import httpx

        requests = self._options.requests
        failures: dict[int, tuple[FailedItem, Evidence | None]] = {}
        turnstile = anyio.CapacityLimiter(self._options.parallel)
        # No proxy from the environment: the release is on this machine.
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as client,  # noqa: S113 - `ask` has the limit
            anyio.create_task_group() as side_by_side,
        ):

            async def take_turn(index: int, request: SmokeRequest) -> None:
                async with turnstile:
                    if failed := await _try(ctx, client, request):
                        failures[index] = failed

            for index, request in enumerate(requests):
                side_by_side.start_soon(take_turn, index, request)
        if not failures:
            return Finding(Verdict.PASSED, f"all {len(requests)} requests were answered as expected")
        told = [failures[index] for index in sorted(failures)]
        return Finding(
            Verdict.FAILED,
            f"{len(told)} of {len(requests)} requests were not answered as expected",
            "unexpected_answer",
            evidence=tuple(evidence for _, evidence in told if evidence),
            failed_items=tuple(item for item, _ in told),
            fix_hint="Fix the service, or correct what the gate expects in rings.yaml; then deploy and promote again.",
        )


async def _try(
    ctx: GateContext, client: httpx.AsyncClient, request: SmokeRequest
) -> tuple[FailedItem, Evidence | None] | None:
    try:
        base = await ctx.services.base_url(request.service, request.port)
    except RingError as error:
        return FailedItem(id=request.name, message=f"{error.message}. {error.next_step}"), None
    url = base.rstrip("/") + request.path
    answer = await ask(client, request, url)
    if isinstance(answer, NoAnswer):
        return failure(request, request.name, url, (answer.reason,), None)
    why = misses(request.expect, answer)
    return failure(request, request.name, url, why, answer) if why else None
