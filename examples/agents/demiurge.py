"""Demiurge, after a code change: deploys it to dev, and takes it ring by ring as far as it is good.

    python demiurge.py [--deploy COMMAND]... http://127.0.0.1:8900/mcp
    python demiurge.py /path/to/.venv/bin/aither-rings-mcp --config /path/to/rings.yaml
    python demiurge.py --via staging,prod --plan PLAN_ID http://127.0.0.1:8900/mcp

Each step is planned and applied as planned. It never forces anything. It stops where a person is asked, with the words
for them, and where a release is not good, with what to fix. Once the person said yes, --plan goes on from there: it
deploys nothing, applies exactly that plan on the first step of --via, and plans the steps after it. Its report is lines
of JSON; it exits with 0 (users have it), 3 (a person is asked), 4 (a gate said no, or a rule), 5 (dev does not run),
7 (taken back).
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
from itertools import pairwise

from rings import Answer, Refused, Rings, connected, told

DONE, ASKED, BLOCKED, NOT_DEPLOYED, TAKEN_BACK = 0, 3, 4, 5, 7
_GOOD = {"candidate_tagged", "promoted", "noop"}
_CODES = {"approval_required": ASKED, "declined_or_unavailable": ASKED, "rolled_back": TAKEN_BACK, "stuck": TAKEN_BACK}


async def deploy(command: list[str]) -> int:
    """The working tree as a new release in dev. It is the one step that takes a checkout, so it is a command."""
    program = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await program.wait()


async def bring(rings: Rings, source: str, target: str, why: str) -> Answer:
    """One ring further, by a plan; a plan that went stale because somebody else was faster is made anew, once."""
    for last in (False, True):
        plan = await rings.call("ring_plan", source=source, target=target)
        told(step="plan", to=target, release=plan["release"], changes=len(plan["changes"]), risk=plan["blast_radius"])
        try:
            return await rings.change(
                "ring_promote", source=source, target=target, plan_id=plan["plan_id"], reason=why,
                idempotency_key=f"demiurge {plan['plan_id']}",
            )  # fmt: skip
        except Refused as refused:
            if last or refused.code != "plan_stale":
                raise
    raise AssertionError("unreachable")


async def apply(rings: Rings, source: str, target: str, plan_id: str, why: str) -> Answer:
    """That very plan, which a person may have been asked about; one that went stale is refused, as another one was
    not what they said yes to.
    """
    told(step="plan", to=target, plan=plan_id)
    return await rings.change(
        "ring_promote", source=source, target=target, plan_id=plan_id, reason=why, idempotency_key=f"demiurge {plan_id}"
    )


async def report(rings: Rings, way: list[str], answer: Answer) -> None:
    """What came of one step, and for whom the next move is. Texts of tests and logs are passed on as data."""
    outcome, target = answer["outcome"], way[1]
    failed = [
        {
            "gate": gate["name"],
            "why": gate["summary"],
            "items": gate.get("failed_items", []),
            "fix": gate.get("fix_hint"),
        }
        for gate in answer.get("gates", [])
        if gate["status"] not in {"passed", "skipped"} and gate["blocking"]
    ]
    told(step="promote", to=target, outcome=outcome, why=answer["summary"], to_fix=failed or None)
    if outcome in {"approval_required", "declined_or_unavailable"}:
        approval = answer.get("approval", {})
        ways = f"{answer['summary']} A person can: {' or '.join(approval.get('ways', []))}"
        plan = approval.get("plan_id")
        then = f"--via {','.join(way)} --plan {plan}" if plan else None
        told(step="ask", say=approval.get("words") or ways, plan=plan, once_approved=then)
    if outcome in {"rolled_back", "stuck"} and answer.get("operation_id"):
        kept = await rings.call("ring_evidence", operation_id=answer["operation_id"])
        told(step="evidence", operation=answer["operation_id"], sections=[one["name"] for one in kept["sections"]])


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deploy", default="ring-ctl deploy dev --json", metavar="COMMAND", help="how dev gets it")
    parser.add_argument("--via", metavar="RINGS", help="the way (dev,staging,prod; with --plan: staging,prod)")
    parser.add_argument("--plan", metavar="PLAN_ID", help="go on with this plan, to which a person said yes")
    parser.add_argument("--reason", default="a code change", help="why, for the history")
    parser.add_argument("where", help="the server's URL, or the program that speaks MCP")
    parser.add_argument("more", nargs=argparse.REMAINDER, help="the program's arguments")
    given = parser.parse_args()
    way = (given.via or ("staging,prod" if given.plan else "dev,staging,prod")).split(",")
    if given.deploy and not given.plan and (code := await deploy(shlex.split(given.deploy))):
        told(step="deploy", outcome="failed", exit_code=code)
        return NOT_DEPLOYED
    async with connected(given.where, "demiurge", given.more) as rings:
        for step, (source, target) in enumerate(pairwise(way)):
            try:
                if given.plan and step == 0:
                    answer = await apply(rings, source, target, given.plan, given.reason)
                else:
                    answer = await bring(rings, source, target, given.reason)
            except Refused as refused:
                told(step="promote", to=target, refused=refused.code, why=str(refused).partition("\n")[0])
                return BLOCKED
            await report(rings, way[step:], answer)
            if answer["outcome"] not in _GOOD:
                return _CODES.get(answer["outcome"], BLOCKED)
    return DONE


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
