"""`http`: one request to any URL, judged by its answer."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from aither_rings_mcp.domain.verdict import Verdict
from aither_rings_mcp.gates.expectations import NoAnswer, Request, ask, failure, misses
from aither_rings_mcp.ports import Finding, GateContext


class Http:
    """Asks somebody else (a change calendar, a status page): no answer there is an error, not the release's failure."""

    version: ClassVar[str] = "1"

    class Options(Request):
        url: Annotated[str, Field(pattern=r"^https?://[^\s/]")]

    def __init__(self, options: Options) -> None:
        self._options = options

    async def check(self, ctx: GateContext) -> Finding:
        import httpx

        request, url = self._options, self._options.url
        async with httpx.AsyncClient(timeout=None) as client:  # noqa: S113 - `ask` has the limit
            answer = await ask(client, request, url)
        if isinstance(answer, NoAnswer):
            item, _ = failure(request, request.method, url, (answer.reason,), None)
            return Finding(
                Verdict.ERROR,
                f"{url} could not be asked",
                "unreachable",
                failed_items=(item,),
                fix_hint="Check the URL and the network from this machine; `retries` help against short outages.",
            )
        why = misses(request.expect, answer)
        if not why:
            return Finding(Verdict.PASSED, f"{url} answered as expected in {answer.took_ms:.0f} ms")
        item, evidence = failure(request, request.method, url, why, answer)
        return Finding(
            Verdict.FAILED,
            f"{url} did not answer as expected",
            "unexpected_answer",
            evidence=(evidence,) if evidence else (),
            failed_items=(item,),
        )
