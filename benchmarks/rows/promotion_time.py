"""How much longer a promotion without gates takes than the Compose command that it contains."""

from __future__ import annotations

from typing import Any

from benchmarks.bench import Bench
from benchmarks.contenders.by_hand import InPlace
from benchmarks.measure import timed


class _Bare(InPlace):
    """Prod's 11 services replaced in place, and waited for by Compose itself."""

    def bring(self) -> None:
        self.compose("up", "--detach", "--wait")


def promotion_time(bench: Bench) -> dict[str, Any]:
    """In turns, each alone beside the backbone: the other ring and the other contender are stopped."""
    world = bench.world
    bare = _Bare(world)
    times: dict[str, list[float]] = {"ours": [], "bare": []}

    def without_gates(rules: dict[str, Any]) -> None:
        rules["rings"]["prod"]["strategy"] = "recreate"
        rules["paths"][1]["gates"] = []
        # its worker stays until the release has settled; nothing of that is part of the promotion
        rules.setdefault("rollback", {})["settle"] = "5s"

    with world.rules(without_gates):
        world.stage("ok")
        world.arrange("down", "dev")
        try:
            for turn in range(bench.repetitions):
                bench.say(f"promotion-time, {turn + 1} of {bench.repetitions}")
                world.arrange("up", "prod")
                world.set(".env.prod", SETTING=world.next_name())
                times["ours"].append(timed(lambda: _promoted(bench)))
                world.workers_end()
                world.arrange("down", "prod")
                bare.start()
                bare.prepare("ok")
                times["bare"].append(timed(bare.promote))
                bare.stop()
        finally:
            world.arrange("up", "dev")
    return {
        "kind": "ratios",
        "title": "A promotion of 11 services without gates, `recreate`",
        "against": "`docker compose up -d --wait` of the same",
        "pairs": [{"name": "11 services", "ours": times["ours"], "against": times["bare"]}],
    }


def _promoted(bench: Bench) -> None:
    said = bench.world.ctl("promote", "staging", "prod", limit=300)
    assert said.outcome == "promoted", said
