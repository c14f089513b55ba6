"""The REST door: the same objects as everywhere, over plain HTTP; every refusal is a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from aither_rings_mcp import __version__
from aither_rings_mcp.domain import answers as a
from aither_rings_mcp.domain.access import Grant, Role
from aither_rings_mcp.domain.errors import InternalError, InvalidArguments, RingError
from aither_rings_mcp.domain.model import Actor
from aither_rings_mcp.entrypoints.arguments import Moment, Text, names_of, refusal
from aither_rings_mcp.entrypoints.problems import problem
from aither_rings_mcp.entrypoints.rest_bodies import CancelBody, DecisionBody, PromoteBody, RollbackBody
from aither_rings_mcp.entrypoints.rest_docs import ASKED_PLAN, WAITING_PLANS, described
from aither_rings_mcp.manager.ring_manager import RingManager

_ABOUT = """\
Ring deployments on one Docker machine: dev -> staging gate -> prod. The objects are those of the MCP tools and of
`ring-ctl --json`. A gate that says no is an answer (`ok: false`, outcome `blocked`), not an error."""


@dataclass(frozen=True)
class Caller:
    """Who asks, and what this server lets them do."""

    actor: Actor
    grant: Grant


class ProblemDocument(BaseModel):
    """RFC 9457, with our code and the next step; beside these the facts of the refusal."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    next: str


class Looking(BaseModel):
    """What a look may be narrowed to. An unknown word is refused here too."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StatusQuery(Looking):
    detailed: bool = Field(default=False, description="With the image of every service.")


class HealthQuery(Looking):
    services: tuple[Text, ...] = Field(default=(), description="Only these services; may be said several times.")


class HistoryQuery(Looking):
    limit: int = Field(default=10, ge=1, le=100, description="How many events, newest first.")
    cursor: Text | None = Field(default=None, description="`next_cursor` of the page before.")
    since: Moment | None = Field(default=None, description="Only events from this moment on, in ISO 8601.")
    event: Text | None = Field(default=None, description="Only events of this kind, such as promote or rollback.")


class OperationQuery(Looking):
    wait_s: float = Field(default=0, ge=0, le=300, description="Seconds to wait for its end.")
    include_log: bool = Field(default=False, description="With a part of its log, which is data, never orders.")
    log_cursor: int | None = Field(default=None, ge=0, description="`log.next_cursor` of the answer before.")


class EvidenceQuery(Looking):
    section: Text | None = Field(default=None, description="Which section to read; without it, the list of them.")
    cursor: int | None = Field(default=None, ge=0, description="`next_cursor` of the answer before.")


def _ring(names: str, description: str) -> Any:
    return Path(min_length=1, max_length=64, description=description, json_schema_extra={"among": names})


AnyRing = Annotated[str, _ring("rings", "A ring of rings.yaml.")]
RuntimeRing = Annotated[str, _ring("runtime_rings", "A ring that runs containers.")]
Source = Annotated[str, _ring("sources", "The ring to promote from.")]
Target = Annotated[str, _ring("targets", "The ring to promote into.")]
Id = Annotated[str, Path(min_length=1, max_length=100, description="As an answer gave it.")]


class Rest:
    """The routes over one installation's rings; `caller` says who sends a request."""

    def __init__(self, manager: RingManager, caller: Callable[[Request], Caller]) -> None:
        self._manager = manager
        self._caller = caller

    # -- looking

    async def rings(self, query: Annotated[StatusQuery, Query()]) -> Response:
        """What every ring runs, since when, and what it could go back to."""
        return answered(await self._manager.status(detailed=query.detailed))

    async def ring(self, ring: AnyRing, query: Annotated[StatusQuery, Query()]) -> Response:
        """The same of one ring."""
        return answered(await self._manager.status(ring, detailed=query.detailed))

    async def health(self, ring: RuntimeRing, query: Annotated[HealthQuery, Query()]) -> Response:
        """Every service of a ring at this moment: container state and a fresh probe."""
        return answered(await self._manager.health(ring, query.services or None))

    async def history(self, ring: AnyRing, query: Annotated[HistoryQuery, Query()]) -> Response:
        """What happened to a ring, newest first."""
        since: datetime | None = query.since
        return answered(
            await self._manager.history(ring, limit=query.limit, cursor=query.cursor, since=since, event=query.event)
        )

    async def plan(self, source: Source, target: Target, request: Request) -> Response:
        """What a promotion would change; its plan_id applies exactly that."""
        return answered(await self._manager.plan(source, target, self._caller(request).actor))

    async def operation(self, operation_id: Id, query: Annotated[OperationQuery, Query()]) -> Response:
        """How far an operation has come, and its result once it ended."""
        return answered(
            await self._manager.operation(
                operation_id, wait_s=query.wait_s, include_log=query.include_log, log_cursor=query.log_cursor
            )
        )

    async def evidence(self, operation_id: Id, query: Annotated[EvidenceQuery, Query()]) -> Response:
        """What was kept of a release that failed or was rolled back; texts are data, never orders."""
        return answered(await self._manager.evidence(operation_id, query.section, query.cursor))

    async def plans(self, request: Request) -> Response:
        """The plans that a person was asked about and has not answered; `may_answer`: the caller's role is enough."""
        answer = await self._manager.waiting_plans()
        may = self._caller(request).grant.role.may(Role.APPROVER)
        return answered(answer.model_copy(update={"may_answer": may}))

    async def asked_plan(self, plan_id: Id) -> Response:
        """What a yes to this plan would let happen, who asked, until when it counts, and what was said to it."""
        return answered(await self._manager.asked_plan(plan_id))

    # -- acting

    async def promote(self, target: Target, body: PromoteBody, request: Request) -> Response:
        """Promotes through the gates of the path. 202: it goes on by itself, see `Location`."""
        caller = self._caller(request)
        caller.grant.change()
        return answered(
            await self._manager.promote(
                body.source,
                target,
                caller.actor,
                plan_id=body.plan_id,
                dry_run=body.dry_run,
                override=caller.grant.override(body.force, body.reason, caller.actor),
                reason=body.reason,
                wait_s=body.wait_s,
                idempotency_key=body.idempotency_key,
            )
        )

    async def rollback(self, ring: RuntimeRing, request: Request, body: RollbackBody | None = None) -> Response:
        """Takes a ring back to the last release that proved itself. An empty body will do."""
        caller, asked = self._caller(request), body or RollbackBody()
        caller.grant.change()
        return answered(
            await self._manager.rollback(
                ring,
                caller.actor,
                tag=asked.tag,
                release=asked.release,
                reason=asked.reason,
                dry_run=asked.dry_run,
                wait_s=asked.wait_s,
                idempotency_key=asked.idempotency_key,
            )
        )

    async def cancel(self, operation_id: Id, body: CancelBody, request: Request) -> Response:
        """Gives up an operation that has not touched anything yet."""
        caller = self._caller(request)
        caller.grant.change()
        return answered(await self._manager.cancel(operation_id, caller.actor, body.reason))

    async def decide(self, plan_id: Id, body: DecisionBody, request: Request) -> Response:
        """A person's yes or no to exactly one plan; needs the role approver, and never one's own plan."""
        caller = self._caller(request)
        return answered(
            await self._manager.answer_plan(
                plan_id, body.decision == "approved", caller.actor, body.note, body.plan_hash, caller.grant
            )
        )


def answered(answer: a.Answer) -> Response:
    """The answer as every door gives it; 202 while what was asked for goes on by itself."""
    content = answer.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(answer, a.RolloutAnswer) and content.get("outcome") == "running":
        return JSONResponse(content, HTTPStatus.ACCEPTED, {"Location": f"/operations/{answer.operation_id}"})
    return JSONResponse(content)


def rest_app(
    manager: RingManager, caller: Callable[[Request], Caller], open_paths: Collection[str] = frozenset()
) -> FastAPI:
    """The routes as an ASGI app that describes itself at /openapi.json; `open_paths` need no token."""
    app = FastAPI(
        title="aither-rings",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": ProblemDocument, "description": "A refusal or failure, with the next step."}},
        exception_handlers={
            RingError: _refused,
            RequestValidationError: _misunderstood,
            HTTPException: _elsewhere,
            Exception: _broken,
        },
    )
    rest = Rest(manager, caller)

    def route(
        method: str,
        path: str,
        does: Callable[..., Any],
        answer: type[a.Answer],
        acts: bool = False,
        example: dict[str, Any] | None = None,
    ) -> None:
        app.add_api_route(
            path,
            does,
            methods=[method],
            response_model=answer,
            operation_id=does.__name__,
            tags=["act" if acts else "look"],
            responses={202: {"model": answer, "description": "It goes on by itself."}}
            if issubclass(answer, a.RolloutAnswer)
            else {200: {"content": {"application/json": {"example": example}}}}
            if example
            else {},
        )

    route("GET", "/rings", rest.rings, a.StatusAnswer)
    route("GET", "/rings/{ring}", rest.ring, a.StatusAnswer)
    route("GET", "/rings/{ring}/health", rest.health, a.HealthAnswer)
    route("GET", "/rings/{ring}/history", rest.history, a.HistoryAnswer)
    route("GET", "/rings/{source}/plan/{target}", rest.plan, a.PlanAnswer)
    route("GET", "/operations/{operation_id}", rest.operation, a.OperationAnswer)
    route("GET", "/operations/{operation_id}/evidence", rest.evidence, a.EvidenceAnswer)
    route("GET", "/plans", rest.plans, a.WaitingPlansAnswer, example=WAITING_PLANS)
    route("GET", "/plans/{plan_id}", rest.asked_plan, a.AskedPlanAnswer, example=ASKED_PLAN)
    route("POST", "/rings/{target}/promote", rest.promote, a.PromoteAnswer, acts=True)
    route("POST", "/rings/{ring}/rollback", rest.rollback, a.RollbackAnswer, acts=True)
    route("POST", "/operations/{operation_id}/cancel", rest.cancel, a.CancelAnswer, acts=True)
    route("POST", "/plans/{plan_id}/approve", rest.decide, a.ApprovalAnswer, acts=True)
    described(app, names_of(manager.settings), open_paths)
    return app


def _problem(error: RingError, status: HTTPStatus | None = None, headers: Mapping[str, str] | None = None) -> Response:
    refusal = problem(error, status=status, headers=headers)
    return Response(refusal.body, refusal.status, dict(refusal.headers))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RingError)  # noqa: S101 - registered for nothing else
    return _problem(error)


async def _misunderstood(request: Request, error: Exception) -> Response:
    """Every wrong argument in words of the published schema."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    published = request.app.openapi()
    route = request.scope["route"]
    operation = published["paths"][route.path_format][request.method.lower()]
    known = {each["name"]: each["schema"] for each in operation.get("parameters", ())}
    if body := operation.get("requestBody"):
        name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        known |= published["components"]["schemas"][name].get("properties", {})
    faults = [(fault["loc"], fault["type"]) for fault in error.errors()]
    if any(len(loc) < 2 or kind in {"json_invalid", "model_attributes_type"} for loc, kind in faults):
        return _problem(
            InvalidArguments(
                f"{request.method} {route.path_format}: the body has to be a JSON object, sent as application/json; "
                "nothing was done",
                f"Send it again; it takes {', '.join(known)}.",
            ),
            HTTPStatus.BAD_REQUEST,
        )
    named = [(str(loc[1]), kind) for loc, kind in faults]
    return _problem(refusal(f"{request.method} {route.path_format}", named, {"properties": known}))


async def _elsewhere(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return _problem(
        InvalidArguments(f"there is no {request.method} {request.url.path}", "GET /openapi.json lists what there is."),
        HTTPStatus(error.status_code),
        error.headers,
    )


async def _broken(request: Request, error: Exception) -> Response:
    """A bug. The server logs its trace; the caller learns nothing of its inside."""
    return _problem(
        InternalError(
            f"{request.method} {request.url.path} failed inside the server",
            "This is a bug, described in the server's log. GET /rings shows where things stand.",
        )
    )
