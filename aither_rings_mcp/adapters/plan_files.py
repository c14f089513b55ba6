"""`plans/`: plans that were minted, and a person's answers to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import AwareDatetime

from aither_rings_mcp.adapters import durable
from aither_rings_mcp.domain.approval import rejected_way_back, same_asker
from aither_rings_mcp.domain.errors import Forbidden, InvalidArguments, PlanExpired, StateUnreadable
from aither_rings_mcp.domain.model import Actor, Value
from aither_rings_mcp.domain.plan import Plan

#: No dots: `<id>.answer.json` of one plan is never `<id>.json` of another.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


class Answer(Value):
    """What a person said to exactly one plan."""

    plan_hash: str
    approved: bool
    by: Actor
    note: str | None = None
    at: AwareDatetime
    #: Whether the history has it; before that it counts for nothing.
    told: bool = True


class PlanFiles:
    """Plans and answers as files. An approval counts for `approval_limit` seconds, and once."""

    def __init__(self, state_dir: Path, approval_limit: float, disk: durable.Disk = durable.DISK) -> None:
        self._root = state_dir / "plans"
        self._limit = timedelta(seconds=approval_limit)
        self._disk = disk

    def save(self, plan: Plan) -> None:
        durable.folder(self._root, self._disk)
        durable.replace(self._file(plan.id, "json"), durable.json_bytes(plan), self._disk)

    def load(self, plan_id: str) -> Plan:
        """The plan of that id, whatever its age; one that is not here was never minted or is long gone."""
        path = self._file(plan_id, "json")
        plan = durable.read_value(path, Plan, f"Remove {path} and run `ring-ctl plan` again.")
        if plan is None:
            raise _gone(plan_id, "is not known here")
        return plan

    def answer(self, plan: Plan, approved: bool, by: Actor, note: str | None, at: datetime) -> None:
        """Records a person's answer, which binds this plan's hash, to be told. Nobody answers their own request.

        Who asked is told by name and kind: another door makes nobody somebody else.
        """
        if same_asker(plan.by, by):
            raise Forbidden(
                f"{by} asked for plan {plan.id} and cannot answer it: nobody approves their own request",
                _other_ways(plan, by),
                refused="own_request",
            )
        if at >= plan.expires_at:
            raise _gone(plan.id, f"expired at {plan.expires_at:%Y-%m-%d %H:%M:%SZ}", "too_late")
        answer = Answer(plan_hash=plan.hash, approved=approved, by=by, note=note, at=at, told=False)
        path = self._file(plan.id, "answer.json")
        if not durable.create(path, durable.json_bytes(answer), self._disk):
            raise InvalidArguments(
                f"plan {plan.id} has been answered already",
                _once_answered(plan),
                refused="answered_already",
            )

    def tell(self, plan: Plan, tell: Callable[[bool, Actor, str | None, datetime], None]) -> None:
        """Has an answer told that is not, and then lets it count."""
        answer = self._answer(plan)
        if answer is None or answer.told:
            return
        tell(answer.approved, answer.by, answer.note, answer.at)
        told = answer.model_copy(update={"told": True})
        durable.replace(self._file(plan.id, "answer.json"), durable.json_bytes(told), self._disk)

    def withdraw(self, plan: Plan) -> None:
        """Takes an answer that is not told away: as if nobody had given one."""
        path, answer = self._file(plan.id, "answer.json"), self._answer(plan)
        if answer is None or answer.told:
            return
        with durable.explained(path), suppress(FileNotFoundError):
            self._disk.remove(path)

    def approval(self, plan: Plan, now: datetime, operation: str = "") -> tuple[str, Actor] | None:
        """`approved` or `rejected`, and by whom; None unless said of this very plan, lately, told, and not used by
        another operation than this one.
        """
        used = durable.read_bytes(self._file(plan.id, "used"))
        if used is not None and (not operation or used != operation.encode()):
            return None
        answer = self._answer(plan)
        if answer is None or not answer.told or answer.plan_hash != plan.hash or now >= answer.at + self._limit:
            return None
        return ("approved" if answer.approved else "rejected"), answer.by

    def _answer(self, plan: Plan) -> Answer | None:
        path = self._file(plan.id, "answer.json")
        return durable.read_value(path, Answer, f"Remove {path} and ask for the approval again.")

    def use(self, plan: Plan, operation: str = "") -> None:
        """Spends the plan and its approval; the second time is `plan_expired`, also in a race.

        An operation that spent it may do so again: a worker that carries it on repeats itself.
        """
        durable.folder(self._root, self._disk)
        path, by = self._file(plan.id, "used"), operation.encode()
        if not durable.create(path, by, self._disk) and (not by or durable.read_bytes(path) != by):
            raise _gone(plan.id, "has been used already", "used_already")

    def waiting(self, plan_hash: str, by: Actor, now: datetime) -> Plan | None:
        """The newest plan with that content that this actor asked for, if it can still be applied."""
        found = (plan for plan in self._open(now) if plan.hash == plan_hash and same_asker(plan.by, by))
        return max(found, key=lambda plan: plan.created_at, default=None)

    def unanswered(self, now: datetime) -> tuple[Plan, ...]:
        """The plans that can still be applied and that nobody answered, newest first."""
        left = [plan for plan in self._open(now) if not self._file(plan.id, "answer.json").exists()]
        return tuple(sorted(left, key=lambda plan: plan.created_at, reverse=True))

    def _open(self, now: datetime) -> Iterator[Plan]:
        for path in self._root.glob("[!.]*.json"):
            if path.name.count(".") > 1 or path.with_suffix(".used").exists():
                continue
            with suppress(StateUnreadable):
                plan = durable.read_value(path, Plan, "Leave it.")
                if plan and plan.expires_at > now:
                    yield plan

    def prune(self, before: datetime) -> None:
        """Removes the plans that expired before then, with their answers; the plan goes first, so none lives again."""
        for plan_id in sorted({path.name.split(".")[0] for path in self._root.glob("[!.]*.*")}):
            with suppress(StateUnreadable):
                plan = durable.read_value(self._file(plan_id, "json"), Plan, "Leave it.")
                if plan is None or plan.expires_at < before:
                    self._remove(plan_id)

    def _remove(self, plan_id: str) -> None:
        for suffix in ("json", "answer.json", "used"):
            path = self._file(plan_id, suffix)
            with durable.explained(path), suppress(FileNotFoundError):
                self._disk.remove(path)

    def _file(self, plan_id: str, suffix: str) -> Path:
        if not _ID.match(plan_id):
            raise _gone(plan_id, "is not known here")
        return self._root / f"{plan_id}.{suffix}"


def _other_ways(plan: Plan, by: Actor) -> str:
    """What somebody can do who may not answer; to go past the gates alone is a person's choice, never an agent's."""
    other = f"Let somebody else run `ring-ctl approve {plan.id}` or `ring-ctl reject {plan.id}` from another account"
    if by.kind != "person" or plan.goes_back:
        return f"{other}."
    return (
        f"{other}; if there is nobody else, `ring-ctl promote {plan.source} {plan.target} --force --reason TEXT` "
        "goes past all gates, and the history says who did and why."
    )


def _once_answered(plan: Plan) -> str:
    """A no to a promotion is one to that plan; a no to a rollback also to asking for the same one over and over."""
    if not plan.goes_back:
        return "Ask for the change again; the plan that comes of it can be answered."
    return f"An approved one is applied by asking for it again. A rejected one stands: {rejected_way_back(plan)}"


def _gone(plan_id: str, why: str, refused: str = "unknown_plan") -> PlanExpired:
    return PlanExpired(
        f"plan {plan_id[:80]!r} {why}",
        "Make a new one: `ring-ctl plan SOURCE TARGET` (tool: ring_plan).",
        refused=refused,
    )
