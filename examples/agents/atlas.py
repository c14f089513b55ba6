"""Atlas, on patrol: looks after running rings, and takes a bad release back where its policy lets it.

    python atlas.py [--every 30] [--once] http://127.0.0.1:8900/mcp
    python atlas.py [--once] /path/to/.venv/bin/aither-rings-mcp --config /path/to/rings.yaml

It rolls back only when all of this is so; otherwise it tells, and a person decides:
* critical services were unhealthy at every one of `--looks` looks in a row;
* the release is new (`--young` minutes): an old one that turns ill is not the release's fault;
* the backbone is well: what everybody shares is nobody's release;
* there is a way back, nobody changes the ring now, and no monitor is about to do the same.

A question that the server refuses, as when its engine is away, is told, and asked again in the next round.
With --once it exits with 0 (all well or mended) or 1 (a person should look).
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from rings import Answer, Refused, Rings, connected, told

_WELL = {"running", "healthy"}


@dataclass(frozen=True)
class Policy:
    looks: int
    pause_s: float
    young: timedelta


async def patrol(rings: Rings, policy: Policy) -> bool:
    """One round through all rings; whether nobody needs to look. One ring's trouble keeps it from no other."""
    try:
        status = await rings.call("ring_status")
    except Refused as refused:
        return alerted(refused)
    well = True
    for ring in status["rings"]:
        if ring["kind"] == "runtime" and ring["state"] in {"running", "stuck"}:
            try:
                well = await visit(rings, ring, policy) and well
            except Refused as refused:
                well = alerted(refused, ring["name"])
    return well


def alerted(refused: Refused, ring: str | None = None) -> bool:
    """Tells what the server refused; that is nothing to be well with."""
    told(ring=ring, verdict="alert", refused=refused.code, why=str(refused).partition("\n")[0])
    return False


async def visit(rings: Rings, ring: Answer, policy: Policy) -> bool:
    """Looks at one ring; again, if it is not well, before anything is done."""
    name = ring["name"]
    health = await rings.call("ring_health", ring=name)
    for _ in range(policy.looks - 1):
        if not health["critical_unhealthy"]:
            break
        await asyncio.sleep(policy.pause_s)
        health = await rings.call("ring_health", ring=name)
    if health["ok"]:
        told(ring=name, verdict="well", services=f"{health['healthy']} of {health['total']}")
        return True
    if not health["critical_unhealthy"]:
        told(ring=name, verdict="degraded", why=health["summary"])
        return True
    if why_not := reason_to_hold(ring, health, policy):
        told(ring=name, verdict="alert", critical=health["critical_unhealthy"], held=why_not)
        return False
    return await take_back(rings, ring, health)


def reason_to_hold(ring: Answer, health: Answer, policy: Policy) -> str | None:
    """Why not to roll back, as the policy has it; None: nothing speaks against it."""
    deployed, now = (datetime.fromisoformat(at) for at in (ring["deployed_at"], health["as_of"]))
    monitor = health["monitor"]
    ill = [name for name, state in health.get("backbone", {}).items() if state not in _WELL]
    if ring["state"] == "stuck":
        return "the ring is stuck: a rollback failed before"
    if ring.get("active_operation"):
        return f"{ring['active_operation']['owner']} is changing it"
    if ill:
        return f"the backbone is ill: {', '.join(ill)}"
    if monitor["armed"] and monitor.get("rollback_in_s") is not None:
        return f"the monitor takes it back in {monitor['rollback_in_s']:.0f} s"
    if now - deployed > policy.young:
        return f"its release has been there since {deployed:%Y-%m-%d %H:%M}"
    if not health["rollback_ready"]:
        return "there is no way back"
    return None


async def take_back(rings: Rings, ring: Answer, health: Answer) -> bool:
    name, bad = ring["name"], ring["release"]
    why = f"patrol: {', '.join(health['critical_unhealthy'])} unhealthy, release {bad} is new"
    answer = await rings.change("ring_rollback", ring=name, reason=why, idempotency_key=await key_for(rings, ring))
    done = answer["outcome"] == "rolled_back"
    told(ring=name, verdict="rolled_back" if done else "alert", outcome=answer["outcome"], why=answer["summary"])
    return done


async def key_for(rings: Rings, ring: Answer) -> str:
    """The same trouble is one rollback, however often a broken connection has it asked for; one that came to nothing
    was none, and the next is another. The history knows how many those were, also after a restart of this program.
    """
    since = ring["deployed_at"]
    past = await rings.call("ring_history", ring=ring["name"], event="rollback", since=since, limit=100)
    in_vain = sum(event["outcome"] in {"failed", "cancelled"} for event in past["events"])
    return f"atlas {ring['name']} {ring['release']} {since} {in_vain}"


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="one round, then leave")
    parser.add_argument("--every", type=float, default=30, metavar="S", help="seconds between two rounds")
    parser.add_argument("--looks", type=int, default=3, metavar="N", help="so many bad looks make a verdict")
    parser.add_argument("--pause", type=float, default=2, metavar="S", help="seconds between two looks")
    parser.add_argument("--young", type=float, default=60, metavar="MIN", help="minutes that a release is new")
    parser.add_argument("where", help="the server's URL, or the program that speaks MCP")
    parser.add_argument("more", nargs=argparse.REMAINDER, help="the program's arguments")
    given = parser.parse_args()
    policy = Policy(max(1, given.looks), given.pause, timedelta(minutes=given.young))
    async with connected(given.where, "atlas", given.more) as rings:
        while True:
            well = await patrol(rings, policy)
            if given.once:
                return 0 if well else 1
            await asyncio.sleep(given.every)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
